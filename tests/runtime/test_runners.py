"""What every runner does, whatever executes: a new backend is one more line in RUNNERS."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from cgan_export.fidelity.torch_runner import TorchRunner
from cgan_export.graph.statistics import with_statistics
from cgan_runtime.bundle import Bundle
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.generator import noise_tensors
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_runtime.serving.server import TritonServer
from cgan_runtime.triton_client import TritonClient, TritonRunner
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator

Request = pytest.FixtureRequest


def onnxruntime(request: Request) -> Runner:
    bundle: Bundle = request.getfixturevalue("bundle")
    return bundle.runner()


def torch_eager(request: Request) -> Runner:
    bundle: Bundle = request.getfixturevalue("bundle")
    generator: Pix2pixGenerator = request.getfixturevalue("generator")
    return TorchRunner(*with_statistics(generator, bundle.manifest.contract, None))


def triton_http(request: Request) -> Runner:
    server: TritonServer = request.getfixturevalue("server")
    return TritonRunner(TritonClient(server.http_url), "facades_core")


def triton_grpc(request: Request) -> Runner:
    server: TritonServer = request.getfixturevalue("server")
    return TritonRunner(TritonClient(f"grpc://{server.grpc_url}"), "facades_core")


RUNNERS: list[Callable[[Request], Runner]] = [onnxruntime, torch_eager, triton_http, triton_grpc]


@pytest.fixture(scope="module", params=RUNNERS, ids=lambda make: make.__name__)
def runner(request: Request) -> Iterator[Runner]:
    with request.param(request) as made:
        yield made


def inputs_for(runner: Runner, batch: int) -> dict[str, Array]:
    rng = np.random.default_rng(4)
    condition = rng.uniform(-1, 1, (batch, 3, 64, 64)).astype(np.float32)
    return {"condition": condition, **noise_tensors(runner.contract.noise, list(range(batch)), [0] * batch)}


def test_it_says_what_it_is(runner: Runner) -> None:
    assert len(runner.description.split()) >= 2


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_outputs_have_the_contracts_form(runner: Runner, batch: int) -> None:
    outputs = runner.infer(inputs_for(runner, batch))
    assert list(outputs) == ["picture"]
    assert outputs["picture"].shape == (batch, 3, 64, 64)
    assert outputs["picture"].dtype == np.float32
    assert np.abs(outputs["picture"]).max() <= 1


def test_it_agrees_with_the_bundle(runner: Runner, bundle: Bundle) -> None:
    inputs = inputs_for(runner, 3)
    np.testing.assert_allclose(runner.infer(inputs)["picture"], bundle.runner().infer(inputs)["picture"], atol=1e-4)


def test_it_repeats_itself_and_leaves_its_inputs_alone(runner: Runner) -> None:
    inputs = inputs_for(runner, 2)
    copies = {name: value.copy() for name, value in inputs.items()}
    first = runner.infer(inputs)["picture"].copy()
    np.testing.assert_array_equal(runner.infer(inputs)["picture"], first)
    for name, value in inputs.items():
        np.testing.assert_array_equal(value, copies[name])


def test_arrays_that_are_not_contiguous_are_taken(runner: Runner) -> None:
    inputs = inputs_for(runner, 2)
    turned = {**inputs, "condition": np.asfortranarray(inputs["condition"])}
    np.testing.assert_array_equal(runner.infer(turned)["picture"], runner.infer(inputs)["picture"])


def test_what_does_not_fit_is_refused_by_name(runner: Runner) -> None:
    good = inputs_for(runner, 2)
    cases: list[tuple[dict[str, Array], str]] = [
        ({k: v for k, v in good.items() if k != "mask_1"}, "mask_1"),
        ({**good, "extra": good["condition"]}, "extra"),
        ({**good, "condition": good["condition"].astype(np.float64)}, r"condition is float64"),
        ({**good, "condition": good["condition"][:, :, :32]}, r"condition is float32 \[2, 3, 32, 64\]"),
        ({**good, "condition": good["condition"][0]}, "batch"),
        ({**good, "mask_0": good["mask_0"][:1]}, "same batch"),
        ({k: v[:0] for k, v in good.items()}, "at least 1"),
    ]
    for inputs, words in cases:
        with pytest.raises(UsageError, match=words):
            runner.infer(inputs)


def test_a_backend_that_answers_another_form_is_not_believed(bundle: Bundle) -> None:
    class Wrong(Runner):
        @property
        def description(self) -> str:
            return "wrong on purpose"

        def _infer(self, inputs: Tensors) -> dict[str, Array]:
            return {"picture": inputs["condition"][:, :1]}

    wrong = Wrong(bundle.manifest.contract)
    with pytest.raises(CganError, match="wrong on purpose answered picture as"):
        wrong.infer(inputs_for(wrong, 1))


def test_closing_twice_is_allowed(request: Request) -> None:
    for make in RUNNERS:
        made = make(request)
        made.close()
        made.close()
