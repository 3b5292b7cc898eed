"""A generator as an ONNX model: the pure function of the contract, in one self-contained file."""

from __future__ import annotations

import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import onnx
import torch
from cgan_runtime.axes import axis_size, shape_of
from cgan_runtime.contract import Contract
from cgan_trainer.generator import Generator
from torch import Tensor, nn

from cgan_export.graph.lint import lint

__all__ = ["OPSET", "onnx_from_generator", "with_metadata"]

OPSET: Final = 20
EXAMPLE_BATCH: Final = 2  # 1 would be specialised to a constant by torch.export
TORCH_DTYPES: Final = {"float32": torch.float32, "int64": torch.int64}


class _Positional(nn.Module):
    """The generator with every input in one tuple, so that one shape description fits every family."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs, batch first."""
        outputs: tuple[Tensor, ...] = self.generator(*inputs)
        return outputs


def onnx_from_generator(generator: Generator, contract: Contract) -> onnx.ModelProto:
    """The plain export: what torch.onnx makes of the pure function, batch axis free, tensors named.

    Raises:
        UsageError: the contract has a free axis that no size rule binds.
        CheckFailedError: the graph is not a valid, deterministic, self-contained ONNX model.
    """
    axes = _FreeAxes(contract)
    inputs = tuple(
        torch.zeros(EXAMPLE_BATCH, *axes.example(t.shape), dtype=TORCH_DTYPES[t.dtype]) for t in contract.inputs
    )
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            _Positional(generator).eval(),
            inputs,
            dynamo=True,
            dynamic_shapes=(tuple(axes.dynamic(t.shape) for t in contract.inputs),),
            input_names=[t.name for t in contract.inputs],
            output_names=[t.name for t in contract.outputs],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - dynamo=True always returns a program
    model = program.model_proto
    _strip(model)
    _name(model, keep={tensor.name for tensor in (*contract.inputs, *contract.outputs)})
    if contract.sides is not None:
        _name_free_axes(model, contract)
    lint(model)
    return model


def with_metadata(model: onnx.ModelProto, *, name: str, family: str, contract: Contract) -> onnx.ModelProto:
    """The model with the contract mirrored in its metadata_props, so that the file explains itself."""
    model.producer_name = "cgan-deploy"
    model.producer_version = ""
    model.graph.name = name
    del model.metadata_props[:]
    entries = {
        "cgan.name": name,
        "cgan.family": family,
        "cgan.statistics": contract.statistics,
        "cgan.noise_version": str(contract.noise_version),
        "cgan.contract": json.dumps(contract.model_dump(mode="json"), separators=(",", ":")),
    }
    onnx.helper.set_model_props(model, entries)
    return model


class _FreeAxes:
    """The batch and, where the image size is free, its sides as torch.export wants them: ``multiple * units``."""

    def __init__(self, contract: Contract) -> None:
        self._batch = torch.export.Dim("batch", min=1, max=4096)
        sides = contract.sides
        self._multiple = sides.multiple if sides else 1
        # Sizes 0 and 1 would be taken for constants, and equal ones for one and the same: hence 3 and 2 units.
        self._units = {"h": 3, "w": 2} if sides else {}
        self._dims = {
            name: torch.export.Dim(
                f"{name}_units", min=sides.min // sides.multiple, max=sides.max // sides.multiple
            )
            for name in self._units
            if sides
        }
        self._least = max(1, -(-sides.min // sides.multiple)) if sides else 1

    def example(self, shape: tuple[int | str, ...]) -> tuple[int, ...]:
        sizes = {name: max(units, self._least + units) * self._multiple for name, units in self._units.items()}
        return shape_of(shape, sizes)

    def dynamic(self, shape: tuple[int | str, ...]) -> dict[int, Any]:
        free: dict[int, Any] = {0: self._batch}
        for at, axis in enumerate(shape, 1):
            if isinstance(axis, str):
                name = next(letter for letter in axis if letter in self._dims)
                factor = axis_size(axis, {name: self._multiple})
                free[at] = self._dims[name] if factor == 1 else factor * self._dims[name]
        return free


def _name_free_axes(model: onnx.ModelProto, contract: Contract) -> None:
    """Call the free axes what the contract calls them, and leave the inner shapes to inference."""
    named = {tensor.name: tensor.shape for tensor in (*contract.inputs, *contract.outputs)}
    for value in (*model.graph.input, *model.graph.output):
        for dim, axis in zip(value.type.tensor_type.shape.dim[1:], named[value.name], strict=True):
            if isinstance(axis, str):
                dim.dim_param = axis
    del model.graph.value_info[:]


def _strip(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes about our source files: it is not part of the function."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    # The exporter repeats the shapes of weights as if they were intermediate tensors; a rewrite may change them.
    weights = {item.name for item in model.graph.initializer}
    tensors = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(tensors)
    for weight in model.graph.initializer:
        del weight.metadata_props[:]
        weight.ClearField("doc_string")
    del model.graph.metadata_props[:]
    model.graph.ClearField("doc_string")
    model.ClearField("doc_string")


def _name(model: onnx.ModelProto, keep: set[str]) -> None:
    """Number nodes and intermediate tensors by operator (Conv_0, Conv_1, ...), weights by their module.

    The exporter's own numbers depend on what else was traced, so two exports would differ in bytes.
    """
    count: Counter[str] = Counter()
    renamed = {item.name: item.name.removeprefix("generator.") for item in model.graph.initializer}
    for node in model.graph.node:
        node.name = f"{node.op_type}_{count[node.op_type]}"
        count[node.op_type] += 1
        outputs = [name for name in node.output if name and name not in keep]
        renamed.update({name: node.name if i == 0 else f"{node.name}_{i}" for i, name in enumerate(outputs)})
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for named in (*model.graph.initializer, *model.graph.value_info):
        named.name = renamed.get(named.name, named.name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's notes on its own deprecations and on packages we do not use."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
