"""The models that run inside Triton. Each `model.py` of the repository is one import from here.

    <name>_png   files, text + seed    -> PNG files     ┐ both fill the noise and call
    <name>       conditions + seed     -> outputs       ┘ <name>_core
    <name>_core  conditions + noise    -> outputs       the engine, loaded once: CoreModel, or a plan in a container

The two front models hold no weights. They turn a whole batch of requests into one call of the engine, row by
row with its own seed, so a row never depends on its neighbours.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import numpy as np
import triton_python_backend_utils as pb

from cgan_runtime.contract import Condition, Contract, ImageEncoding, Output
from cgan_runtime.encodings import decoder_of, encoder_of, require_finite
from cgan_runtime.errors import BundleError, CganError, UsageError
from cgan_runtime.images import image_text
from cgan_runtime.plain_file import read_plain
from cgan_runtime.runners import Array, runner_kind
from cgan_runtime.runners.base import require_classes
from cgan_runtime.serving.core_call import open_core, ping_core
from cgan_runtime.serving.stage_times import StageTimes
from cgan_runtime.serving.wire import OUR_SENTENCE, PING, artifact_of, image_outputs, plain_files, png_inputs

__all__ = ["CoreModel", "PngModel", "TensorModel"]

DRAWN_SEED_BITS: Final = 53  # a seed the server draws is exact in any client's JSON numbers


class _Model:
    """What the three models share: settings, batching of requests, one sentence per error."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the settings Triton passes from config.pbtxt."""
        config = json.loads(args["model_config"])
        self.settings = {key: value["string_value"] for key, value in config["parameters"].items()}
        # The Python backend of the embedded server, Triton 2.51, was built against numpy 1; newer ones take both.
        if self.settings["target"] == "embedded" and int(np.__version__.partition(".")[0]) != 1:
            raise pb.TritonModelException(f"numpy {np.__version__}: Triton's Python backend needs numpy<2")
        self.contract = Contract.model_validate_json(self.settings["contract"])
        self.folder = Path(args["model_repository"]) / args["model_version"]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request, in order; a bad one fails alone."""
        rows: list[_Rows] = []
        plan: list[_Rows | Any] = []
        for request in requests:
            if PING in request.parameters():
                plan.append(self._pinged())
                continue
            try:
                with self._stage("read"):
                    read = self._read(request)
                    require_classes(self.contract, read.tensors)  # here: a batch of several would fail as a whole
                rows.append(read)
                plan.append(read)
            except CganError as error:
                plan.append(_failure(error, pb.TritonError.INVALID_ARG))
        answers: dict[int, Any] = {}
        for group in _same_shapes(rows):
            answers.update(self._answers(group))
        return [
            pb.InferenceResponse([], item)
            if isinstance(item, pb.TritonError)
            else answers[id(item)]
            if isinstance(item, _Rows)
            else item
            for item in plan
        ]

    def _pinged(self) -> Any:
        """That this process lives; a model that calls another one asks it too."""
        return pb.InferenceResponse([])

    def _answers(self, rows: list[_Rows]) -> dict[int, Any]:
        """Responses to requests whose tensors can be joined, from one call, by the identity of their rows."""
        try:
            outputs = self._run(rows)
        except CganError as error:
            code = pb.TritonError.INVALID_ARG if isinstance(error, UsageError) else pb.TritonError.INTERNAL
            failure = _failure(error, code)
            return {id(item): pb.InferenceResponse([], failure) for item in rows}
        answers, start = {}, 0
        for item in rows:
            stop = start + item.count
            try:
                with self._stage("answer"):
                    part = {name: value[start:stop] for name, value in outputs.items()}
                    answers[id(item)] = self._answer(item, part)
            except CganError as error:  # of this request alone
                failure = _failure(error, pb.TritonError.INTERNAL)
                answers[id(item)] = pb.InferenceResponse([], failure)
            start = stop
        return answers

    def _stage(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002 - the others need it
        """Around work of a stage that is measured."""
        return nullcontext()

    def _read(self, request: Any) -> _Rows:
        raise NotImplementedError  # abstract: abc would be the only import of it inside Triton

    def _run(self, rows: list[_Rows]) -> dict[str, Array]:
        raise NotImplementedError  # abstract

    def _answer(self, rows: _Rows, outputs: dict[str, Array]) -> Any:  # noqa: ARG002 - the others need rows
        return pb.InferenceResponse([pb.Tensor(name, np.ascontiguousarray(v)) for name, v in outputs.items()])


class _Rows:
    """The rows of one request."""

    def __init__(
        self, tensors: dict[str, Array], seeds: list[int], draws: list[int], *, as_text: bool = False
    ) -> None:
        self.tensors, self.seeds, self.draws, self.as_text = tensors, seeds, draws, as_text
        self.count = len(seeds)


class CoreModel(_Model):
    """The engine: every input of the contract, noise included."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph: after every start of the process, the bytes that the bundle's manifest names."""
        super().initialize(args)
        (artifact,) = (path for path in self.folder.glob("model.*") if path.suffix != ".py")
        data = read_plain(artifact, int(self.settings["bytes"]))
        if data is None or hashlib.sha256(data).hexdigest() != self.settings["sha256"]:
            raise BundleError(f"{artifact.name} changed since the repository was written; start the server again.")
        self.runner = runner_kind(self.settings["backend"]).open(
            data,
            self.contract,
            precision=self.settings["precision"],
            device=self.settings["device"] or None,
            threads=int(self.settings["threads"]),
        )

    def _read(self, request: Any) -> _Rows:
        tensors = {tensor.name: _input(request, tensor.name) for tensor in self.contract.inputs}
        count = len(next(iter(tensors.values())))
        return _Rows(tensors, [0] * count, [0] * count)

    def _run(self, rows: list[_Rows]) -> dict[str, Array]:
        return self.runner.infer(_joined(rows))


class TensorModel(_Model):
    """Conditions and a seed per row; the seed is echoed."""

    suffix = ""

    def initialize(self, args: dict[str, str]) -> None:
        """Prepare the calls of `<name>_core`."""
        super().initialize(args)
        self.times = StageTimes(f"{self.settings['name']}{self.suffix}")
        self.generator = open_core(self.contract, self.settings, lambda: self.times.stage("core"))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request, and tell at times what that took."""
        answers = super().execute(requests)
        self.times.report()
        return answers

    def _stage(self, name: str) -> AbstractContextManager[None]:
        return self.times.stage(name)

    def _pinged(self) -> Any:
        try:
            ping_core(self.contract, self.settings["core"])
        except CganError as error:
            return _failure(error, pb.TritonError.UNAVAILABLE)
        return super()._pinged()

    def _read(self, request: Any) -> _Rows:
        tensors = {c.name: _input(request, c.name) for c in self.contract.conditions}
        count = len(next(iter(tensors.values()))) if tensors else None
        return _Rows(tensors, *_seeds_and_draws(request, count))

    def _run(self, rows: list[_Rows]) -> dict[str, Array]:
        seeds = [seed for item in rows for seed in item.seeds]
        draws = [draw for item in rows for draw in item.draws]
        with self._stage("noise"):
            return self.generator.generate(_joined(rows), seeds, draws)

    def _answer(self, rows: _Rows, outputs: dict[str, Array]) -> Any:
        tensors = [pb.Tensor(name, np.ascontiguousarray(value)) for name, value in outputs.items()]
        return pb.InferenceResponse([*tensors, _seed_tensor(rows)])


class PngModel(TensorModel):
    """Files and text in, PNG files out.

    An image is a file of a format that is read, as bytes, as base64 text or as a data URL; a label is its number or
    name as text; other conditions are tensors. Images come back as PNG: as base64 text where an image came so, or
    where the request says so (`base64`); other outputs are tensors.
    """

    suffix = "_png"

    def _read(self, request: Any) -> _Rows:
        tensors: dict[str, Array] = {}
        as_text = pb.get_input_tensor_by_name(request, "base64")
        texts = [as_text is not None and bool(as_text.as_numpy().any())]
        for name, condition in png_inputs(self.contract).items():
            given = _input(request, name)
            if encoder_of(condition).as_bytes:
                files = [bytes(data) for data in given.ravel()]
                if isinstance(condition.encoding, ImageEncoding):
                    files, in_base64 = plain_files(files, name)
                    texts.append(in_base64)
                given = self._encoded(files, condition, name)
            tensors[condition.name] = given
        count = len(next(iter(tensors.values()))) if tensors else None
        return _Rows(tensors, *_seeds_and_draws(request, count), as_text=any(texts))

    def _encoded(self, files: list[bytes], condition: Condition, name: str) -> Array:
        encoder = encoder_of(condition)
        values = [encoder.encode(data, condition, sides=self.contract.sides, name=name) for data in files]
        if len({value.shape for value in values}) > 1:
            raise UsageError("the images of one request come to different sizes; send each on its own.")
        return np.stack(values)

    def _answer(self, rows: _Rows, outputs: dict[str, Array]) -> Any:
        files = image_outputs(self.contract)
        for row, seed in enumerate(rows.seeds):
            sample = {output.name: outputs[output.name][row] for output in files}
            require_finite(files, sample, f"row {row} (seed {seed})")
        answers = [
            pb.Tensor(
                output.name,
                self._files(rows, outputs[output.name], output)
                if output in files
                else np.ascontiguousarray(outputs[output.name]),
            )
            for output in self.contract.outputs
        ]
        return pb.InferenceResponse([*answers, _seed_tensor(rows)])

    def _files(self, rows: _Rows, values: Array, output: Output) -> Array:
        """PNG files [N, 1], as bytes or as base64 text."""
        files = []
        artifact = artifact_of(self.settings)
        for value, seed, draw in zip(values, rows.seeds, rows.draws, strict=True):
            text = image_text(self.settings["name"], self.settings["model_digest"], seed, draw, artifact)
            data = decoder_of(output).decode(value, output, text=text)
            assert isinstance(data, bytes)  # noqa: S101 - an image output is a file
            files.append([base64.b64encode(data) if rows.as_text else data])
        return np.array(files, dtype=object)


def _failure(error: CganError, code: int) -> Any:
    return pb.TritonError(f"{OUR_SENTENCE}{error}", code)


def _input(request: Any, name: str) -> Array:
    tensor = pb.get_input_tensor_by_name(request, name)
    if tensor is None:
        raise UsageError(f"input {name} is missing.")
    return np.asarray(tensor.as_numpy())


def _seeds_and_draws(request: Any, count: int | None) -> tuple[list[int], list[int]]:
    """Seeds as given, or drawn, one a row; draws as given, or 0.

    `count` is the number of rows of the conditions. Where there are none (None), any other input says it: Triton
    lets no request without inputs through.
    """
    optional = {name: pb.get_input_tensor_by_name(request, name) for name in ("seed", "draw", "base64")}
    given = {name: tensor.as_numpy().ravel().tolist() for name, tensor in optional.items() if tensor is not None}
    if count is None:
        count = len(next(iter(given.values()), [0]))
    seeds = given.get("seed") or [secrets.randbits(DRAWN_SEED_BITS) for _ in range(count)]
    return seeds, given.get("draw") or [0] * len(seeds)


def _seed_tensor(rows: _Rows) -> Any:
    return pb.Tensor("seed", np.array(rows.seeds, dtype=np.uint64).reshape(-1, 1))


def _same_shapes(rows: list[_Rows]) -> list[list[_Rows]]:
    """Rows whose tensors have the same shapes, together; where the image size is fixed that is all of them."""
    groups: dict[Any, list[_Rows]] = {}
    for item in rows:
        shapes = tuple((name, value.shape[1:]) for name, value in item.tensors.items())
        groups.setdefault(shapes, []).append(item)
    return list(groups.values())


def _joined(rows: list[_Rows]) -> dict[str, Array]:
    names = rows[0].tensors
    return {name: np.concatenate([item.tensors[name] for item in rows]) for name in names}
