"""A request against the contract: everything that can be known of it before Triton sees it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod
from typing import Final

import numpy as np

from cgan_runtime.axes import bound_sizes, nearest_size, require_bearable, require_legal, shape_of
from cgan_runtime.contract import Condition, ImageEncoding, LabelEncoding
from cgan_runtime.encodings import encoder_of
from cgan_runtime.errors import UsageError
from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.request import DTYPES, InferRequest, Sent, byte_strings
from cgan_runtime.gateway.served import ServedModel
from cgan_runtime.gateway.settings import Limits
from cgan_runtime.images import stored_size
from cgan_runtime.serving.signature import ServedTensor
from cgan_runtime.serving.wire import plain_files

__all__ = ["Cost", "check"]

# Values may leave the range by this part of its width: a resampled image overshoots its edges a little.
RANGE_SLACK: Final = 0.25
BYTES_PER_PIXEL: Final = 16  # decoding, laying on white and resizing, measured at its most
COPIES: Final = 4  # of a tensor at once: the gateway's, gRPC's, Triton's shared memory, the model's


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a request will take.

    Attributes:
        rows: that it has.
        memory_bytes: that it needs at once, all processes together, estimated.
    """

    rows: int
    memory_bytes: int


def check(request: InferRequest, model: ServedModel, limits: Limits) -> Cost:
    """What the request costs, once it is known to fit.

    Raises:
        Refusal: it does not fit the contract, or is beyond the limits.
    """
    given = _by_name(request, model)
    rows = _rows(given, model)
    for sent in given.values():
        _check_form(sent, model.inputs[sent.name])
    contract = model.route.contract
    try:
        sizes = bound_sizes(
            (item.condition.shape, sent.shape[1:])
            for sent in given.values()
            if (item := model.inputs[sent.name]).condition is not None and item.datatype != "BYTES"
        )
        require_legal(sizes, contract.sides)
        for sent in given.values():
            _check_free_axes(sent, model.inputs[sent.name], sizes)
        pixels = 0
        for sent in given.values():
            pixels += _check_values(sent, model.inputs[sent.name], model, sizes, limits.pixels - pixels)
        known = [t.shape for t in (*contract.inputs, *contract.outputs) if _is_known(t.shape, sizes)]
        require_bearable(known, sizes)
        elements = sum(prod(shape_of(shape, sizes)) for shape in known)
    except UsageError as error:
        raise Refusal(str(error)) from error
    names = {output.name for output in model.outputs}
    for wanted in request.wanted:
        if wanted.name not in names:
            raise Refusal(
                f"{wanted.name[:80]!r} is no output of {model.name}; it gives {', '.join(sorted(names))}."
            )
    sent_bytes = sum(len(sent.raw) for sent in given.values())
    memory = COPIES * (sent_bytes + 4 * elements * rows) + BYTES_PER_PIXEL * pixels
    return Cost(rows=rows, memory_bytes=memory)


def _by_name(request: InferRequest, model: ServedModel) -> dict[str, Sent]:
    given: dict[str, Sent] = {}
    takes = ", ".join(model.inputs)
    for sent in request.inputs:
        if sent.name not in model.inputs:
            raise Refusal(f"{sent.name[:80]!r} is no input of {model.name}; it takes {takes}.")
        if sent.name in given:
            raise Refusal(f"{sent.name} is given twice.")
        given[sent.name] = sent
    if missing := [name for name, tensor in model.inputs.items() if not tensor.optional and name not in given]:
        raise Refusal(f"{missing[0]} is missing; {model.name} takes {takes}.")
    if not given:
        raise Refusal(f"the request has no input; give one of {takes}, with a row for each result.")
    return given


def _rows(given: dict[str, Sent], model: ServedModel) -> int:
    rows = {sent.name: sent.shape[0] if sent.shape else 0 for sent in given.values()}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise Refusal(f"every input needs the same number of rows, the first axis of its shape; given: {counts}.")
    count = next(iter(rows.values()))
    if not 1 <= count <= model.route.max_batch:
        raise Refusal(
            f"the request has {count} rows; {model.name} takes 1 to {model.route.max_batch} (max_batch), so send "
            "several requests."
        )
    return count


def _check_form(sent: Sent, tensor: ServedTensor) -> None:
    """Datatype, shape and number of bytes."""
    name = sent.name
    if sent.datatype != tensor.datatype:
        raise Refusal(f"{name} is {sent.datatype[:20]}; {tensor.datatype} is needed.")
    wanted = tensor.wire_shape
    fits = len(sent.shape) == len(wanted) + 1 and all(
        given > 0 if isinstance(axis, str) else given == axis
        for axis, given in zip(wanted, sent.shape[1:], strict=False)
    )
    if not fits:
        needed = ", ".join(map(str, ("N", *wanted)))
        raise Refusal(f"{name} has the shape {list(sent.shape)[:17]}; [{needed}] is needed.")
    if tensor.datatype != "BYTES":
        size = prod(sent.shape) * np.dtype(DTYPES[tensor.datatype]).itemsize
        if len(sent.raw) != size:
            raise Refusal(
                f"{name} has {len(sent.raw)} bytes of data; {size} are needed for {tensor.datatype} "
                f"{list(sent.shape)}."
            )


def _check_free_axes(sent: Sent, tensor: ServedTensor, sizes: dict[str, int]) -> None:
    """The axes that follow the image's size, of noise too."""
    if tensor.datatype != "BYTES" and any(isinstance(axis, str) for axis in tensor.wire_shape):
        needed = (sent.shape[0], *shape_of(tensor.wire_shape, sizes))
        if sent.shape != needed:
            raise Refusal(f"{sent.name} has the shape {list(sent.shape)}; {list(needed)} fits the image.")


def _check_values(sent: Sent, tensor: ServedTensor, model: ServedModel, sizes: dict[str, int], pixels: int) -> int:
    """The values of one input; of image files their headers. Returns the number of their pixels."""
    if tensor.datatype == "BYTES":
        return _check_files(sent, tensor, model, sizes, pixels)
    if tensor.datatype == "BOOL" and np.frombuffer(sent.raw, np.uint8).max() > 1:
        raise Refusal(f"{sent.name} is BOOL; every byte must be 0 or 1.")
    if tensor.datatype == "FP32":
        values = sent.array()
        low, high = float(values.min()), float(values.max())
        if not (isfinite(low) and isfinite(high)):
            raise Refusal(f"{sent.name} has values that are not finite numbers (NaN or infinite).")
        if tensor.condition is not None and tensor.condition.range is not None:
            _check_range(sent.name, low, high, tensor.condition.range)
    condition = tensor.condition
    if condition is not None and (top := condition.last_class) is not None:
        wrong = [int(value) for value in sent.array().ravel() if not 0 <= value <= top]
        if wrong:
            raise Refusal(f"{sent.name} {wrong[0]} is out of range; give 0 to {top}.")
    return 0


def _check_range(name: str, low: float, high: float, wanted: tuple[float, float]) -> None:
    slack = RANGE_SLACK * (wanted[1] - wanted[0])
    if low < wanted[0] - slack or high > wanted[1] + slack:
        raise Refusal(
            f"{name} has values from {low:.6g} to {high:.6g}, far outside its range of {wanted[0]:g} to "
            f"{wanted[1]:g}: convert the image as the contract says (docs/clients.md), or send the file to the "
            "model NAME_png."
        )


def _check_files(sent: Sent, tensor: ServedTensor, model: ServedModel, sizes: dict[str, int], left: int) -> int:
    condition, pixels = tensor.condition, 0
    assert condition is not None  # noqa: S101 - inputs of BYTES are conditions
    for data in byte_strings(sent):
        if isinstance(condition.encoding, LabelEncoding):
            encoder_of(condition).encode(data, condition, name=sent.name)
        elif isinstance(condition.encoding, ImageEncoding):
            (plain,), _ = plain_files([data], sent.name)
            size = stored_size(plain)
            if size is None:
                continue  # the model says what is wrong with it
            pixels += size[0] * size[1]
            if pixels > left:
                raise Refusal(
                    f"the images of the request have {pixels // 10**6} million pixels or more; at most "
                    f"{left // 10**6} million are read: scale them down, or send several requests.",
                    status=413,
                    reason="too_large",
                )
            _note_sizes(condition, size, model, sizes)
    return pixels


def _note_sizes(condition: Condition, size: tuple[int, int], model: ServedModel, sizes: dict[str, int]) -> None:
    """The size that an image of free size will be made to; of several the largest, to estimate their cost."""
    sides = model.route.contract.sides
    if sides is not None:
        for axis, side in zip(condition.shape[1:], reversed(size), strict=True):
            if isinstance(axis, str):
                sizes[axis] = max(sizes.get(axis, 0), nearest_size(side, sides))


def _is_known(shape: tuple[int | str, ...], sizes: dict[str, int]) -> bool:
    return bool(sizes) or all(isinstance(axis, int) for axis in shape)
