"""What every runner does, whatever executes: a backend of RUNNERS is tested by being in the table."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cgan_export.graph.statistics import with_statistics
from cgan_export.pytorch.runner import TorchRunner
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import ImageEncoding
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.generator import noise_tensors
from cgan_runtime.images import pixels_from_tensor, tensor_from_image
from cgan_runtime.runners import RUNNERS, Array, Runner, RunnerKind, Tensors, runner_kind
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner, import_onnxruntime
from cgan_runtime.serving.server import TritonServer
from cgan_runtime.triton_client import TritonClient, TritonRunner
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator
from PIL import Image

from tests.runtime.tiny import clouds_formula

Request = pytest.FixtureRequest


def of_backend(backend: str) -> Callable[[Request], Runner]:
    """The bundle's artifact on one backend of the table."""

    def opened(request: Request) -> Runner:
        bundle: Bundle = request.getfixturevalue("bundle")
        if (reason := RUNNERS[backend].absence()) is not None:
            pytest.skip(reason)
        if backend == "openvino":  # it runs the same file
            return RUNNERS[backend].open(bundle.read("model.onnx"), bundle.manifest.contract)
        if backend not in {artifact.backend for artifact in bundle.manifest.artifacts}:
            pytest.skip(f"the bundle of the tests has no {backend} artifact")
        return bundle.runner(backend=backend)

    opened.__name__ = backend
    return opened


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


EVERY_WAY: list[Callable[[Request], Runner]] = [
    *(of_backend(backend) for backend in RUNNERS),
    torch_eager,
    triton_http,
    triton_grpc,
]


MARKED = [
    pytest.param(make, marks=pytest.mark.server if make in (triton_http, triton_grpc) else (), id=make.__name__)
    for make in EVERY_WAY
]


@pytest.fixture(scope="module", params=MARKED)
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


def test_8_bit_sums_do_not_overflow_on_processors_without_vnni(bundle: Bundle) -> None:
    """Elsewhere ONNX Runtime would saturate them, and an INT8 file give another image; here only the wish shows."""
    options = OnnxRuntimeRunner((bundle.path / "model.onnx").read_bytes(), bundle.manifest.contract)._session
    assert options.get_session_options().get_session_config_entry("session.x64quantprecision") == "1"


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


@pytest.mark.parametrize("make", MARKED)
def test_images_go_in_and_out_as_bytes(request: Request, make: Callable[[Request], Runner]) -> None:
    with make(request) as runner:
        inputs = inputs_for(runner, 2)
        condition, output = runner.contract.conditions[0], runner.contract.outputs[0]
        assert isinstance(condition.encoding, ImageEncoding)
        assert isinstance(output.encoding, ImageEncoding)
        pixels = np.random.default_rng(0).integers(0, 256, (2, *map(int, condition.shape[1:]), 3)).astype(np.uint8)
        one_by_one = [tensor_from_image(Image.fromarray(image), condition) for image in pixels]
        wanted = runner.infer({**inputs, "condition": np.stack(one_by_one)})["picture"]
        given = {**inputs, "condition": pixels}
        np.testing.assert_array_equal(runner.infer(given)["picture"], wanted)
        made = runner.infer(given, as_bytes=True)["picture"]
        np.testing.assert_array_equal(
            made, np.stack([pixels_from_tensor(image, output.encoding) for image in wanted])
        )
        with pytest.raises(UsageError, match=r"condition is uint8 \[2, 3, .* is needed"):
            runner.infer({**inputs, "condition": pixels.transpose(0, 3, 1, 2)})


def test_an_image_of_no_numbers_is_not_made_into_bytes(bundle: Bundle) -> None:
    class Broken(Runner):
        description = "broken on purpose"

        def _infer(self, inputs: Tensors) -> dict[str, Array]:
            return {"picture": inputs["condition"] * np.nan}

    broken = Broken(bundle.manifest.contract)
    assert np.isnan(broken.infer(inputs_for(broken, 1))["picture"]).all()
    with pytest.raises(CganError, match="broken on purpose gave values for picture that are no finite numbers"):
        broken.infer(inputs_for(broken, 1), as_bytes=True)


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


@pytest.mark.parametrize("make", MARKED)
def test_closing_twice_is_allowed(request: Request, make: Callable[[Request], Runner]) -> None:
    made = make(request)
    made.close()
    made.close()


@pytest.mark.parametrize("backend", RUNNERS)
def test_every_backend_of_the_table_says_whether_it_can_be_used(backend: str) -> None:
    kind = runner_kind(backend)
    assert kind.name
    reason = kind.absence()
    assert reason is None or (("pip install" in reason or "driver" in reason) and "\n" not in reason)


def test_a_backend_that_is_not_installed_says_what_to_install(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module of a backend whose package is missing, in the table under a name of its own."""
    (tmp_path / "absent_backend.py").write_text(
        "def absence():\n    return 'absent is not installed; run: pip install absent'\n"
        "def open_runner(model, contract, *, precision, device, threads, in_flight):\n"
        "    raise AssertionError('must not be opened')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(RUNNERS, "onnxruntime", RunnerKind(name="Absent", module="absent_backend"))
    with pytest.raises(
        CganError, match=r"model\.onnx needs Absent: absent is not installed; run: pip install absent"
    ):
        bundle.runner()
    with pytest.raises(CganError, match="absent is not installed"):
        runner_kind("onnxruntime").open(b"", bundle.manifest.contract)


def test_a_backend_is_one_module_and_one_line(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the artifact's bytes, the device and the threads."""
    (tmp_path / "mean_backend.py").write_text(
        "from cgan_runtime.runners import Runner\n"
        "class Mean(Runner):\n"
        "    description = 'mean of the condition'\n"
        "    def _infer(self, inputs):\n"
        "        return {'picture': inputs['condition'] * 0 + len(self.model) + self.threads}\n"
        "def absence():\n    return None\n"
        "def open_runner(model, contract, *, precision, device, threads, in_flight):\n"
        "    runner = Mean(contract); runner.model, runner.device, runner.threads = model, device, threads\n"
        "    return runner\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(RUNNERS, "onnxruntime", RunnerKind(name="Mean", module="mean_backend"))
    with bundle.runner(device="cuda:1", threads=3) as runner:
        answer = runner.infer(inputs_for(runner, 1))["picture"]
        assert getattr(runner, "device", None) == "cuda:1"
    assert (answer == bundle.manifest.artifacts[0].bytes + 3).all()


@pytest.mark.parametrize(
    "device", ["tpu", "cpu:0", "cuda:x", "cuda:-1", "tensorrt:", "cuda:\N{SUPERSCRIPT TWO}", ""]
)
def test_a_device_that_is_none_is_refused(bundle: Bundle, device: str) -> None:
    with pytest.raises(UsageError, match="give cpu, cuda, cuda:N, tensorrt or tensorrt:N"):
        bundle.runner(device=device)


def test_a_device_that_is_not_here_says_what_to_install(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_onnxruntime(), "get_available_providers", lambda: ["CPUExecutionProvider"])
    line = r'run: pip uninstall --yes onnxruntime && pip install "onnxruntime-gpu\[cuda,cudnn\]>=1\.27,<2"$'
    for device, name in (("cuda:0", "CUDA"), ("tensorrt", "TensorRT")):
        with pytest.raises(CganError, match=f"^the ONNX Runtime installed here has no {name}; {line}"):
            bundle.runner(device=device)
    assert bundle.runner(device="cpu").description.endswith("CPU")


def test_one_seed_a_row_is_asked_for(bundle: Bundle) -> None:
    generator = bundle.generator()
    condition = {"condition": np.zeros((2, 3, 64, 64), dtype=np.float32)}
    with pytest.raises(UsageError, match="1 seeds but 2 rows of condition"):
        generator.generate(condition, [7], [0])


@pytest.mark.parametrize("count", [1, 4])
def test_without_conditions_the_seeds_are_the_rows(clouds: Bundle, count: int) -> None:
    seeds = list(range(count))
    answer = clouds.generator().generate({}, seeds, [2] * count)
    assert answer["score"].shape == (count,)
    for seed in seeds:
        np.testing.assert_allclose(answer["picture"][seed], clouds_formula(seed, 2)["picture"], atol=1e-6)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_refused(shoes: Bundle, label: int) -> None:
    generator = shoes.generator()
    with pytest.raises(UsageError, match=f"label {label} is out of range; give 0 to 2"):
        generator.generate({"label": np.array([1, label])}, [7, 8], [0, 0])


def test_cuda_that_does_not_start_is_never_replaced_by_the_cpu(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As with onnxruntime-gpu on a machine without a driver: the provider is listed, the session has none."""
    ort = import_onnxruntime()
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime may have CUDA")
    listed = [*ort.get_available_providers(), "CUDAExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: listed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own, which nobody who asked for CUDA would see
        with pytest.raises(CganError, match="cannot start CUDAExecutionProvider here"):
            bundle.runner(device="cuda")
    assert not capfd.readouterr().out
