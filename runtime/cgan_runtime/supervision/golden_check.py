"""Does a model that was loaded give what its bundle says it gives? Asked before anybody else may ask it."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import ImageEncoding, Output
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.golden import golden_conditions, golden_output
from cgan_runtime.images import pixels_from_tensor
from cgan_runtime.manifest import Artifact
from cgan_runtime.runners import Array
from cgan_runtime.triton_client import TritonClient

__all__ = ["check_golden", "difference"]

# Images are compared as files, so that a value on the edge between two levels may come out as either of them: an
# image that is one level off everywhere has a PSNR of 48 dB.
BEST_PSNR_DB: Final = 48.0
LARGEST_SHARE: Final = 1e-2  # of the scale, where the bundle tells no limit


def check_golden(url: str, model: str, bundle: Bundle, artifact: Artifact) -> int:
    """Ask a served model for every golden sample of its bundle.

    Args:
        url: of Triton, grpc://HOST:PORT. Its HTTP client would leave two open files in every thread that asks.
        model: the one that takes conditions and seeds as tensors, by its name inside Triton.
        bundle: whose golden samples are asked for.
        artifact: that is served; its own limits hold.

    Returns:
        The number of samples; a bundle without any is asked nothing.

    Raises:
        CheckFailedError: an answer is farther from the stored one than the bundle allows.
        ServerError: the model refused, or did not answer in time.
        BundleError: a file changed since the bundle was read.
    """
    contract, client = bundle.manifest.contract, TritonClient(url, key="")  # keys are for the gateway
    try:
        for golden, conditions in zip(bundle.manifest.golden, golden_conditions(bundle), strict=True):
            inputs: dict[str, Array] = {
                "seed": np.array([[golden.seed]], dtype=np.uint64),
                "draw": np.array([[golden.draw]], dtype=np.uint32),
            }
            for name, value in conditions.items():
                inputs[name] = value.reshape(1, *(value.shape or (1,)))
            answer = client.infer(model, inputs, [output.name for output in contract.outputs])
            for output in contract.outputs:
                stored = golden_output(bundle, golden, output)
                given = answer[output.name][0]
                prefix = "" if output is contract.outputs[0] else f"{output.name}."
                if (reason := difference(given, stored, output, artifact, prefix)) is not None:
                    raise CheckFailedError(
                        f"{bundle.path}: {output.name} of the golden sample with seed {golden.seed} is not what "
                        f"the bundle promises ({reason}), so the bundle is not served; export the checkpoint again."
                    )
    finally:
        client.close()
    return len(bundle.manifest.golden)


def difference(given: Array, stored: Array, output: Output, artifact: Artifact, prefix: str) -> str | None:
    """Why a result is too far from the stored one; None where it is not."""
    if isinstance(output.encoding, ImageEncoding):
        if not np.isfinite(given).all():
            return "it has values that are not finite"
        pixels = pixels_from_tensor(given, output.encoding)
        if pixels.shape != stored.shape:
            return f"it is {pixels.shape}, {stored.shape} is stored"
        limit = artifact.fidelity.get(f"{prefix}parity_psnr")
        needed = min(BEST_PSNR_DB, limit.limit - 1) if limit is not None else BEST_PSNR_DB
        error = float(np.mean((pixels.astype(np.float64) - stored) ** 2))
        psnr = math.inf if error == 0 else 10 * math.log10(255**2 / error)
        return None if psnr >= needed else f"PSNR {psnr:.1f} dB, at least {needed:.0f} dB is needed"
    value = given.reshape(stored.shape).astype(np.float64)
    limit = artifact.fidelity.get(f"{prefix}parity_relative")
    needed = limit.limit if limit is not None else LARGEST_SHARE
    scale = max(1e-6, (output.range[1] - output.range[0]) / 2 if output.range else float(np.abs(stored).max()))
    share = float(np.abs(value - stored).max()) / scale
    return None if share <= needed else f"{share:.2g} of its scale apart, at most {needed:.2g} is allowed"
