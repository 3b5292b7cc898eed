"""From the keys around a convolution to its norm; from a layer's keys in the file to ours."""

from __future__ import annotations

from cgan_runtime.errors import BadInputError

from cgan_trainer.nets.norm import NormKind
from cgan_trainer.readers.base import Entry, Notes, State

__all__ = ["AFFINE_VARIANT", "entries_of", "norm_kind", "norm_words", "note_statistics", "stray_statistics"]

AFFINE_VARIANT = "affine-norm"
_PARTS = {
    "batch": ("weight", "bias", "running_mean", "running_var"),
    "affine": ("weight", "bias"),
    "instance": (),
    "none": (),
}


def norm_kind(state: State, conv: str, norm: str, notes: Notes) -> NormKind:
    """The kind of norm after the convolution `conv`, whose keys would begin with `norm`.

    Raises:
        BadInputError: batch norm without averages and instance norm with weights look the same.
    """
    notes.used.add("variant")
    biased = f"{conv}.bias" in state
    learned, tracked = f"{norm}.weight" in state, f"{norm}.running_mean" in state
    if notes.choices.variant not in (None, AFFINE_VARIANT):
        raise BadInputError(
            f"{notes.label}: the variant {notes.choices.variant!r} is not known here; known: {AFFINE_VARIANT}."
        )
    if learned and tracked:
        return "batch"
    if learned:
        if biased and notes.choices.variant != AFFINE_VARIANT:
            raise BadInputError(
                f"{notes.label} has norms with weights and biased convolutions ({norm}.weight, {conv}.bias): "
                "it may be instance norm with weights or batch norm without averages; if per-sample statistics are "
                f"right for it, add --variant {AFFINE_VARIANT}."
            )
        return "affine"
    return "instance" if biased or tracked else "none"


def entries_of(
    ours: str, conv: str, norm: str | None, *, bias: bool, kind: NormKind, norm_ours: str = "norm"
) -> dict[str, Entry]:
    """Our keys of a layer `ours` (its conv and its norm) with the keys they have in the file."""
    parts = {f"{ours}.conv.weight": Entry(f"{conv}.weight")}
    if bias:
        parts[f"{ours}.conv.bias"] = Entry(f"{conv}.bias")
    if norm is not None:
        parts |= {f"{ours}.{norm_ours}.{part}": Entry(f"{norm}.{part}") for part in _PARTS[kind]}
    return parts


def norm_words(kind: NormKind) -> str:
    """The kind in the words of a table."""
    return {"none": "no norm", "affine": "norm with weights, without averages"}.get(kind, f"{kind} norm")


def note_statistics(notes: Notes, kind: NormKind) -> None:
    """Batch norm over a batch of one, unless the user says otherwise; the other kinds leave no choice."""
    if kind == "batch":
        words = "batch norm by each image's own statistics, as the source's test script"
        notes.choose("statistics", "per_sample", words, "--statistics running")


def stray_statistics(state: State, kind: NormKind) -> frozenset[str]:
    """Running averages that instance norms of 2018 tracked. They were never what training used: dropped."""
    if kind != "instance":
        return frozenset()
    return frozenset(key for key in state if key.endswith((".running_mean", ".running_var")))
