"""The signature of a generator: what goes in, what is drawn from the seed, what comes out.

These types are the only place where the wording of a contract is defined. The trainer writes the same JSON
into its checkpoints, the exporter validates it here, and every runner, client and server reads it from here.
Shapes are per sample, without the batch axis; an axis given as a string is free ("h", "w", "h/64": axes.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cgan_runtime.image_values import Limits
from cgan_runtime.noise import DISTRIBUTIONS

__all__ = [
    "Condition",
    "ConditionEncoding",
    "Contract",
    "HeatmapEncoding",
    "ImageEncoding",
    "LabelEncoding",
    "NoiseInput",
    "Output",
    "OutputEncoding",
    "ScoreEncoding",
    "Shape",
    "SizeRule",
    "Tensor",
    "VectorEncoding",
    "image_size",
]

RESERVED: Final = frozenset({"seed", "draw", "base64"})  # inputs that every served model has of its own
AXIS: Final = re.compile(r"^(?:(?P<times>[1-9][0-9]{0,4})\*)?(?P<name>[a-z])(?:/(?P<by>[1-9][0-9]{0,4}))?$")
# Of one sample, all tensors of the call together. A ResNet of nine blocks with dropout has 1.5e8 at 1024 x 1024.
MAX_ELEMENTS: Final = 2**30
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Axis = Annotated[int, Field(ge=1, le=65536)] | Annotated[str, Field(pattern=AXIS.pattern)]
Shape = Annotated[tuple[Axis, ...], Field(max_length=8)]
# Beyond these a float32 result is infinite or not a number.
Number = Annotated[float, Field(ge=-1e30, le=1e30)]
Mean = Annotated[float, Field(ge=-1e6, le=1e6)]
Deviation = Annotated[float, Field(ge=1e-6, le=1e6)]
Range = tuple[Number, Number]
MAX_TENSORS: Final = 256  # of each kind
DType = Literal["float32", "int64"]
# per_sample  normalised over the sample's own pixels (pix2pix at test time);
# running     the averages of training, folded into the weights;
# none        no such layer.
Statistics = Literal["per_sample", "running", "none"]


class Value(BaseModel):
    """Base of every schema type: immutable, and an unknown or ill-typed field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ImageEncoding(Value):
    """How a tensor [C, H, W] stands for an 8-bit image: ``value = (pixel / 255 - mean) / std``.

    In: an image of another size is resampled to H x W by `size_rule` and `filter`. Values of more than 8 bits are
    scaled to 0..255 by the range they are meant in: `integers` or `floats`; None: the usual range that holds those
    of the one image (image_values.py). Transparency is laid on white, or kept as the fourth channel of "RGBA".

    Out: the value is turned back into 0..255, clamped, and made whole by `rounding` (halves to even).
    """

    kind: Literal["image"] = "image"
    color: Literal["RGB", "L", "RGBA"] = "RGB"
    mean: tuple[Mean, ...] = (0.5, 0.5, 0.5)
    std: tuple[Deviation, ...] = (0.5, 0.5, 0.5)
    size_rule: Literal["stretch"] = "stretch"
    filter: Literal["bicubic", "bilinear", "box", "nearest"] = "bicubic"
    rounding: Literal["nearest", "truncate"] = "nearest"
    # Left out where there is none: what has 8 bits is written, and hashed, as before there were ranges.
    integers: Range | None = Field(default=None, exclude_if=lambda limits: limits is None)
    floats: Range | None = Field(default=None, exclude_if=lambda limits: limits is None)

    @model_validator(mode="after")
    def _one_figure_per_channel(self) -> Self:
        channels = len(self.color)
        if not len(self.mean) == len(self.std) == channels:
            raise ValueError(f"{self.color} needs {channels} mean and std values")
        return self

    @model_validator(mode="after")
    def _ranges_go_up(self) -> Self:
        for limits in (self.integers, self.floats):
            if limits is not None and limits[0] >= limits[1]:
                raise ValueError(f"a range goes up, not from {limits[0]} to {limits[1]}")
        return self

    @property
    def limits(self) -> Limits:
        """The ranges of values of more than 8 bits."""
        return Limits(integers=self.integers, floats=self.floats)


class LabelEncoding(Value):
    """An int64 scalar, 0 .. len(names)-1, that stands for a class."""

    kind: Literal["label"] = "label"
    names: tuple[str, ...] = ()


class VectorEncoding(Value):
    """Float values given as they are: a style code, a text vector, features of an image."""

    kind: Literal["vector"] = "vector"


class HeatmapEncoding(Value):
    """A value per pixel, [1, H, W], drawn in colours: the lower end of the output's range first in `colors`."""

    kind: Literal["heatmap"] = "heatmap"
    colors: Literal["heat", "grey"] = "heat"


class ScoreEncoding(Value):
    """One number per sample, shape []; at `threshold` and above it counts as `positive`, where both are given."""

    kind: Literal["score"] = "score"
    threshold: Number | None = None
    positive: str = ""


ConditionEncoding = Annotated[ImageEncoding | LabelEncoding | VectorEncoding, Field(discriminator="kind")]
OutputEncoding = Annotated[ImageEncoding | HeatmapEncoding | ScoreEncoding, Field(discriminator="kind")]


class Tensor(Value):
    """A named tensor of the call."""

    name: Name
    dtype: DType = "float32"
    shape: Shape


class Condition(Tensor):
    """One thing the caller gives. No encoding: the tensor as it is, as for a vector (bundles of version 1)."""

    range: Range | None = None
    meaning: str = ""
    encoding: ConditionEncoding | None = None

    @model_validator(mode="after")
    def _fits_its_encoding(self) -> Self:
        _check_image_shape(self.name, self.shape, self.encoding)
        if isinstance(self.encoding, LabelEncoding) and (self.dtype, self.shape) != ("int64", ()):
            raise ValueError(f"label condition {self.name} must be an int64 scalar")
        return self

    @property
    def last_class(self) -> int | None:
        """The largest number of a label; None where the contract does not say, and for any other condition."""
        if not isinstance(self.encoding, LabelEncoding):
            return None
        if self.encoding.names:
            return len(self.encoding.names) - 1
        return None if self.range is None else int(self.range[1])


class NoiseInput(Tensor):
    """One tensor filled from the seed; `index` is `tensor` in the seeded-noise counter."""

    dtype: Literal["float32"] = "float32"
    index: Annotated[int, Field(ge=0, lt=2**32)]
    distribution: str
    parameters: dict[str, Number] = Field(default_factory=dict)
    site: str = ""

    @model_validator(mode="after")
    def _is_drawable(self) -> Self:
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(f"noise input {self.name} has the unknown distribution {self.distribution!r}")
        if self.distribution == "mask" and not 0 <= self.parameters.get("p", -1) < 1:
            raise ValueError(f"mask {self.name} needs p in [0, 1)")
        if self.distribution == "truncated_normal" and not self.parameters.get("c", 2.0) >= 0.1:
            raise ValueError(f"truncated_normal {self.name} needs c of at least 0.1")
        return self


class Output(Tensor):
    """One thing that comes back."""

    range: Range | None = None
    meaning: str = ""
    encoding: OutputEncoding | None = None

    @model_validator(mode="after")
    def _fits_its_encoding(self) -> Self:
        _check_image_shape(self.name, self.shape, self.encoding)
        if isinstance(self.encoding, HeatmapEncoding) and (
            len(self.shape) != 3 or self.shape[0] != 1 or self.range is None or self.range[0] >= self.range[1]
        ):
            raise ValueError(f"heatmap {self.name} must have the shape [1, H, W] and a range from low to high")
        if isinstance(self.encoding, ScoreEncoding) and self.shape != ():
            raise ValueError(f"score {self.name} must be one number per sample, shape []")
        return self


class SizeRule(Value):
    """Which heights and widths a generator of free size takes: multiples of `multiple` from `min` to `max`."""

    multiple: Annotated[int, Field(ge=1, le=65536)]
    min: Annotated[int, Field(ge=1, le=65536)]
    max: Annotated[int, Field(ge=1, le=65536)]

    @model_validator(mode="after")
    def _is_a_range_of_multiples(self) -> Self:
        if self.min > self.max or self.min % self.multiple or self.max % self.multiple:
            raise ValueError("min and max must be multiples in order")
        return self

    def takes(self, side: int) -> bool:
        """Whether an image may have this height or width."""
        return self.min <= side <= self.max and side % self.multiple == 0


class Contract(Value):
    """The whole signature, in the order of the call: conditions, then noise inputs.

    `sides` is given where the image size is free ("h" and "w" in the shapes).
    """

    noise_version: Literal[1] = 1
    conditions: Annotated[tuple[Condition, ...], Field(max_length=MAX_TENSORS)]
    noise: Annotated[tuple[NoiseInput, ...], Field(max_length=MAX_TENSORS)]
    outputs: Annotated[tuple[Output, ...], Field(min_length=1, max_length=MAX_TENSORS)]
    statistics: Statistics
    sides: SizeRule | None = None

    @model_validator(mode="after")
    def _free_axes_are_bound(self) -> Self:
        given = {axis for c in self.conditions for axis in c.shape if isinstance(axis, str)}
        if self.sides is not None and not given <= {"h", "w"}:
            raise ValueError(f"free sizes of conditions must be h and w: {sorted(given)}")
        return self

    @model_validator(mode="after")
    def _names_and_indices_are_sound(self) -> Self:
        names = [tensor.name for tensor in (*self.inputs, *self.outputs)]
        reserved = RESERVED & set(names)
        if len(set(names)) < len(names) or reserved:
            raise ValueError(f"tensor names must be unique and not {', '.join(sorted(RESERVED))}: {names}")
        if [item.index for item in self.noise] != list(range(len(self.noise))):
            raise ValueError("noise inputs must be numbered 0, 1, 2, ... in their order")
        return self

    @model_validator(mode="after")
    def _is_of_bearable_size(self) -> Self:
        """Of free sizes the smallest counts here; the sizes of a call are checked when they are known."""
        smallest = self.sides.min if self.sides is not None else 1
        count = sum(_elements(tensor.shape, smallest) for tensor in (*self.inputs, *self.outputs))
        if count > MAX_ELEMENTS:
            raise ValueError(f"one sample has {count:.3g} values, at most {MAX_ELEMENTS:.3g} are allowed")
        return self

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """The contract of plain JSON values, as they stand in a checkpoint or a manifest.

        Raises:
            ValueError: they describe no contract.
        """
        return cls.model_validate_json(json.dumps(plain))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: what `from_json` reads."""
        return self.model_dump(mode="json")

    @property
    def inputs(self) -> tuple[Condition | NoiseInput, ...]:
        """Conditions, then noise: the positional inputs of the graph."""
        return (*self.conditions, *self.noise)

    @property
    def image_condition(self) -> Condition | None:
        """The first condition that is an image."""
        return next((c for c in self.conditions if isinstance(c.encoding, ImageEncoding)), None)

    @property
    def image_output(self) -> Output | None:
        """The first output that is an image."""
        return next((o for o in self.outputs if isinstance(o.encoding, ImageEncoding)), None)


def image_size(tensor: Tensor) -> tuple[int, int] | None:
    """(height, width) in pixels of an image tensor; None when its axes are free."""
    height, width = tensor.shape[-2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _check_image_shape(name: str, shape: Shape, encoding: Value | None) -> None:
    if isinstance(encoding, ImageEncoding) and (len(shape) != 3 or shape[0] != len(encoding.mean)):
        raise ValueError(f"{name} is a {encoding.color} image, so its shape must be [{len(encoding.mean)}, H, W]")


def _elements(shape: Iterable[int | str], smallest: int) -> int:
    """How many values a tensor has where every free size is `smallest`, rounded up along each axis."""
    count = 1
    for axis in shape:
        match = AXIS.match(axis) if isinstance(axis, str) else None
        count *= int(axis) if match is None else -(-smallest * int(match["times"] or 1) // int(match["by"] or 1))
    return count
