"""Read a .npy file whose header may lie: numpy allocates what the header says before it looks at the data."""

from __future__ import annotations

import io
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["load_npy"]


def load_npy(data: bytes) -> npt.NDArray[Any]:
    """The array of a .npy file.

    Raises:
        ValueError: not a .npy file, one with Python objects in it, or one whose data is not as long as it says.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"version {version} of the format is not read")
        shape, _, dtype = read_header(stream)
        if dtype.hasobject or prod(shape) * dtype.itemsize != len(data) - stream.tell():
            raise ValueError("the data is not as long as the header says")
        stream.seek(0)
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
    except Exception as error:  # numpy parses the header as Python: TokenError, SyntaxError, TypeError, ...
        raise ValueError(f"it is damaged: {error}") from error
