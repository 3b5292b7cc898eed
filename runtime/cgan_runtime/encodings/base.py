"""What an encoding does: something a caller gives becomes a tensor, and a tensor becomes something to look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from cgan_runtime.contract import Condition, Output, SizeRule

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Array", "Decoder", "Encoder", "Given", "JsonObject", "as_given", "shape_text"]

Array = npt.NDArray[Any]
Given: TypeAlias = "str | int | float | bytes | Path | Sequence[Any] | Array | Image.Image"
JsonObject = dict[str, "float | bool | str | None"]


class Encoder(ABC):
    """One kind of condition: what a caller gives -> the tensor of one sample.

    Attributes:
        as_bytes: `<name>_png` takes the condition as BYTES (a file, or text) and encodes it; else it takes the
            tensor itself.
    """

    as_bytes: ClassVar[bool] = False

    @abstractmethod
    def encode(
        self, given: Given, condition: Condition, *, sides: SizeRule | None = None, name: str | None = None
    ) -> Array:
        """The condition's tensor of one sample: its dtype and shape, no batch axis.

        Args:
            given: what the caller gave; each kind says what it takes.
            condition: of the contract.
            sides: the sizes that a generator of free size takes.
            name: what to call it in messages; the condition's name by default.

        Raises:
            UsageError: it does not fit the condition.
            BadInputError: it names a file that cannot be used.
        """

    @abstractmethod
    def choices(self, condition: Condition) -> str:
        """What may be given, for a message: "0 to 9, or one of cat, dog, owl"."""


class Decoder(ABC):
    """One kind of output: the tensor of one sample -> the bytes of a file, or a JSON object.

    Attributes:
        suffix: of the file, with its dot; empty where `decode` gives a JSON object.
        is_image: the file is a PNG; `<name>_png` answers it as BYTES.
    """

    suffix: ClassVar[str] = ""
    is_image: ClassVar[bool] = False

    @abstractmethod
    def decode(
        self,
        array: Array,
        output: Output,
        *,
        text: Mapping[str, str] | None = None,
        size: tuple[int, int] | None = None,
    ) -> bytes | JsonObject:
        """The file's bytes where the kind has a suffix, else a JSON object.

        Args:
            array: of one sample, no batch axis.
            output: of the contract.
            text: what a PNG says of its origin, in its text chunks.
            size: (width, height) in pixels that an image is scaled to; its own by default.
        """


def shape_text(shape: Sequence[int | str]) -> str:
    """A shape in a message: "3 x h x w"; "one number" for []."""
    return " x ".join(map(str, shape)) if shape else "one number"


def as_given(value: Given) -> str:
    """What was given, short enough for a message."""
    text = f"an array {list(value.shape)}" if isinstance(value, np.ndarray) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
