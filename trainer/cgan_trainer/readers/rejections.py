"""State dicts that are no generator, or of no layout we know: what they are, and what to export instead."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from cgan_runtime.errors import BadInputError

from cgan_trainer.readers.base import Reader, State, difference

__all__ = ["is_discriminator", "is_munit", "refuse_absurd_weights", "refuse_other_networks", "unknown_layout"]

# Trained weights are far below; one flipped exponent bit is mostly far above.
MAX_WEIGHT = 1e6
MAX_VARIANCE = 1e12
MAX_AXIS = 2**20
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def refuse_other_networks(state: State, label: str, file_name: str) -> None:
    """Discriminators, and encoders without their decoder.

    Raises:
        BadInputError: the state dict is one of those.
    """
    if is_discriminator(state):
        better = file_name.replace("net_D", "net_G") if "net_D" in file_name else "latest_net_G.pth"
        raise BadInputError(
            f"{label}: this is a PatchGAN discriminator; export the generator: {better}."
            if "label_embedding.weight" not in state
            else f"{label}: this is the discriminator of a cGAN; export the generator."
        )
    if is_munit(state):
        raise BadInputError(f"{label} holds a generator of MUNIT, a family this version does not build.")
    if _has(state, r"mlp_\d+\."):
        raise BadInputError(f"{label} is the network of CUT that compares features (net_F): export its net_G.")
    for encoder, decoder in (
        (r"(content_encoder|style_encoder|enc_content|enc_style)\.", r"(decoder|dec|mlp)\."),
        (r"down\d+\.", r"(up\d+|final)\."),
        (r"generator/encoder_\d", r"generator/decoder_\d"),
        (r"(encoder|enc)\.", r"(decoder|dec|img)\."),
    ):
        if _has(state, encoder) and not _has(state, decoder):
            raise BadInputError(
                f"{label} is an encoder without its decoder: export a file that holds the whole generator."
            )


def unknown_layout(state: State, label: str, readers: Sequence[Reader]) -> BadInputError:
    """The refusal of a state dict that no reader recognises: the nearest layout and what differs."""
    fits = {reader.title: sum(bool(reader.keys.fullmatch(key)) for key in state) for reader in readers}
    nearest = max(readers, key=lambda reader: fits[reader.title])
    strange = [key for key in state if not nearest.keys.fullmatch(key)]
    if not fits[nearest.title]:
        return BadInputError(
            f"{label} has the keys of no layout known here ({', '.join(list(state)[:3])}): see docs/checkpoints.md "
            "for those that are."
        )
    wrong = [f"{key} is not expected" for key in strange] or ["its first layer is missing"]
    return difference(label, nearest.title, wrong)


def refuse_absurd_weights(state: State, label: str) -> None:
    """NaN, infinity and values no training produces: a damaged file. Also numbers that need a scale or are complex.

    Raises:
        BadInputError: names the first such tensor.
    """
    for key, value in state.items():
        if max(value.shape, default=0) > MAX_AXIS or value.dim() > 5 or 0 in value.shape:
            raise BadInputError(f"{label}: {key} has the shape {list(value.shape)}, which no known layout has.")
        if not (value.is_floating_point() or value.is_complex()):
            continue
        if value.dtype not in FLOATS:
            raise BadInputError(
                f"{label}: {key} holds {str(value.dtype).removeprefix('torch.')} numbers, which are not read: save "
                "the weights as float32, float16 or bfloat16."
            )
        low, high = (float(end) for end in torch.aminmax(value))
        variance = key.endswith(("running_var", "moving_variance"))
        limit = MAX_VARIANCE if variance else MAX_WEIGHT
        if not (-limit <= low and high <= limit):
            what = (
                "NaN or infinity" if not (abs(low) < float("inf") and abs(high) < float("inf")) else f"{high:.3g}"
            )
            raise BadInputError(f"{label} is damaged: {key} contains {what}; download or copy it again.")
        if variance and low < 0:
            raise BadInputError(f"{label} is damaged: {key} contains a negative variance; copy it again.")


def is_discriminator(state: State) -> bool:
    """Whether these are weights of a PatchGAN, or of the discriminator of a cGAN."""
    convs = [value for value in state.values() if value.dim() == 4]
    if "label_embedding.weight" in state:
        return True
    if not convs or any("conv_block" in key or key.startswith("model.model") for key in state):
        return False
    first = next((state[key] for key in ("model.0.weight", "net.0.weight") if key in state), None)
    return first is not None and first.dim() == 4 and convs[-1].shape[0] == 1 and first.shape[-1] in (1, 3, 4)


def is_munit(state: State) -> bool:
    """Whether these are weights of a generator of MUNIT: one per domain, two encoders and a decoder in each."""
    return _has(state, r"enc_content\.") and _has(state, r"dec\.")


def _has(state: State, pattern: str) -> bool:
    return any(re.match(pattern, key) for key in state)
