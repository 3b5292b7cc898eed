"""Where samples are made: a bundle on this machine or a model on a server, under one name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cgan_runtime.bundle import DEFAULT_BACKEND, DEFAULT_PRECISION, read_bundle
from cgan_runtime.choosing import AUTO, resolve_artifact
from cgan_runtime.contract import Contract
from cgan_runtime.errors import UsageError
from cgan_runtime.generator import SeededModel

__all__ = ["Source", "open_source"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A generator, and what its files say of their origin: its name and its model digest.

    Attributes:
        artifact: what is executed, "openvino/int8"; None of a server that does not say it.
        runtime: what executes it: "OpenVINO 2026.4.1 CPU", of a server "openvino 2026.4.1"; None where it does not
            say it, as with --bare.
    """

    model: SeededModel
    name: str
    digest: str
    artifact: str | None = None
    runtime: str | None = None

    @property
    def contract(self) -> Contract:
        """The signature of the generator."""
        return self.model.contract

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.model.close()


def open_source(
    *,
    bundle: Path | None,
    url: str | None,
    model: str | None,
    backend: str | None = None,
    precision: str | None = None,
    device: str | None = None,
    threads: int = 0,
    min_psnr: float | None = None,
    require_signature: Path | None = None,
    say: Callable[[str], None] = print,
) -> Source:
    """A bundle on this machine, or a model on a server.

    Args:
        bundle: folder of the bundle.
        url: address of the server, where there is no bundle.
        model: name of the served model.
        backend: which artifact of the bundle runs; likewise `precision`, `device` and `threads`.
        precision: see `Bundle.runner`.
        device: see `Bundle.runner`.
        threads: see `Bundle.runner`.
        min_psnr: with the backend "auto" the least PSNR in dB, see `choosing.choose_artifact`.
        require_signature: see `read_bundle`.
        say: told what "auto" has chosen.

    Raises:
        UsageError: neither or both of bundle and url are named, or something that only the other one has.
        BundleError: the bundle cannot be used.
        CganError: the backend is not available here.
        ServerError: the server cannot be reached or has no such model.
    """
    if (bundle is None) == (url is None):
        raise UsageError("one of --bundle FOLDER and --url ADDRESS (with --model NAME) is needed.")
    chosen = {
        "--backend": backend,
        "--precision": precision,
        "--device": device,
        "--threads": threads or None,
        "--min-psnr": min_psnr,
        "--require-signature": require_signature,
    }
    if bundle is None and (needless := [name for name, value in chosen.items() if value is not None]):
        raise UsageError(f"{needless[0]} is for a bundle; a server has made this choice: leave it out.")
    if bundle is not None and model is not None:
        raise UsageError("--model names the generator of a server; with --bundle leave it out.")
    if bundle is not None:
        next_used = None if backend == AUTO else (backend or DEFAULT_BACKEND, precision or DEFAULT_PRECISION)
        read = read_bundle(bundle, require_signature=require_signature, hold=next_used)
        kind, rounding = resolve_artifact(
            read, backend, precision, min_psnr_db=min_psnr, device=device, threads=threads, say=say
        )
        opened = read.generator(backend=kind, precision=rounding, device=device, threads=threads)
        return Source(
            model=opened,
            name=read.manifest.name,
            digest=read.model_digest,
            artifact=f"{kind}/{rounding}",
            runtime=opened.runner.description,
        )
    if model is None:
        raise UsageError("--url needs --model NAME, the name the server gives the generator.")
    from cgan_runtime.triton_client import TritonClient, TritonGenerator

    served = TritonGenerator(TritonClient(url or ""), model)
    return Source(model=served, name=model, digest=served.digest, artifact=served.artifact, runtime=served.runtime)
