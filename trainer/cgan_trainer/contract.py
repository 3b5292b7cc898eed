"""What a generator takes and gives, as a value that travels inside the checkpoint.

A generator is the pure function ``outputs = G(conditions, noise)``. Its contract lists the three groups in
the order of the call, per sample (without the batch axis). The exporter reads the JSON form through the
bundle schema, so a contract that a runtime could not honour is refused at export.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Condition", "Contract", "ImageEncoding", "LabelEncoding", "NoiseInput", "Output", "Statistics"]

# How a normalisation layer gets its mean and variance when the generator is used:
# per_sample  over the sample's own pixels (pix2pix at test time: the batch of one);
# running     the averages gathered in training, a constant that folds into the convolution;
# none        the generator has no such layer.
Statistics = Literal["per_sample", "running", "none"]
Distribution = Literal[
    "mask", "normal", "uniform01", "uniform11", "truncated_normal", "hypersphere", "hypersphere_sqrt_n"
]
DType = Literal["float32", "int64"]


@dataclass(frozen=True, kw_only=True)
class ImageEncoding:
    """How a tensor [C, H, W] stands for an 8-bit picture: ``value = (pixel / 255 - mean) / std``.

    ``size_rule`` says how a picture of another size becomes H x W on the way in ("stretch": both axes are
    resampled with ``filter``, the aspect ratio is not kept). ``rounding`` says how a value becomes a pixel on
    the way out; values outside 0..255 are clamped.
    """

    kind: Literal["image"] = "image"
    color: Literal["RGB", "L"] = "RGB"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    size_rule: Literal["stretch"] = "stretch"
    filter: Literal["bicubic", "bilinear", "box", "nearest"] = "bicubic"
    rounding: Literal["nearest", "truncate"] = "nearest"


@dataclass(frozen=True, kw_only=True)
class LabelEncoding:
    """An int64 scalar 0 .. len(names)-1 that stands for a class."""

    kind: Literal["label"] = "label"
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One thing the caller gives. ``encoding`` None: the raw tensor itself (a text vector, a style code)."""

    name: str
    shape: tuple[int | str, ...]
    dtype: DType = "float32"
    range: tuple[float, float] | None = (-1.0, 1.0)
    meaning: str = ""
    encoding: ImageEncoding | LabelEncoding | None = None


@dataclass(frozen=True, kw_only=True)
class NoiseInput:
    """One tensor drawn from the seed; ``index`` is `tensor` in the seeded-noise counter (execution order)."""

    name: str
    index: int
    distribution: Distribution
    shape: tuple[int | str, ...]
    dtype: DType = "float32"
    parameters: dict[str, float] = field(default_factory=dict)
    site: str = ""


@dataclass(frozen=True, kw_only=True)
class Output:
    """One thing the generator gives. ``range`` None: unbounded."""

    name: str
    shape: tuple[int | str, ...]
    dtype: DType = "float32"
    range: tuple[float, float] | None = (-1.0, 1.0)
    meaning: str = ""
    encoding: ImageEncoding | None = None


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The whole signature, in the order of the call: conditions, then noise; and what comes back."""

    conditions: tuple[Condition, ...]
    noise: tuple[NoiseInput, ...]
    outputs: tuple[Output, ...]
    statistics: Statistics
    noise_version: Literal[1] = 1

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values (tuples become lists), as stored in the checkpoint and read by the exporter."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
