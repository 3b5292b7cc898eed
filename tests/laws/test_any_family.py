"""Nothing between generator and client knows pix2pix: labels, latent vectors, other ranges go the same way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from cgan_export.bundle.verify import verify_bundle
from cgan_export.bundle.writer import provenance, write_bundle
from cgan_export.export import Exported, export_generator, require_passed
from cgan_export.fidelity.samples import sample_conditions
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.generator import noise_tensors
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.server import ServerOptions, TritonServer
from cgan_runtime.triton_client import TritonClient, TritonGenerator

from tests.helpers import assert_one_sentence, free_ports, run_here
from tests.toys import LabelGenerator

LABELS = np.array([0, 1, 2, 0], dtype=np.int64)
SEEDS = [7, 7, 7, 8]


@pytest.fixture(scope="module")
def exported() -> Exported:
    toy = LabelGenerator()
    contract = toy.contract
    return export_generator(toy, contract, sample_conditions(contract, None, None), name="animals", family="toy")


@pytest.fixture(scope="module")
def animals(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("animals") / "animals"
    origin = provenance(Path("animals.pt"), "0" * 64, options={}, training={})
    write_bundle(path, exported, name="animals", family="toy", origin=origin)
    return read_bundle(path)


@pytest.fixture(scope="module")
def served(animals: Bundle, server_environment: ServerEnvironment) -> Iterator[TritonServer]:
    with TritonServer([animals], server_environment, ServerOptions(ports=free_ports(), drain_seconds=2)) as running:
        yield running


def test_it_passes_every_gate(exported: Exported) -> None:
    require_passed(exported.figures, "animals")
    assert {"parity_max_abs", "batch_levels", "spread_error_sigmas", "nonfinite_values"} <= set(exported.figures)


def test_the_bundle_gives_what_pytorch_gives(animals: Bundle) -> None:
    toy = LabelGenerator().eval()
    noise = noise_tensors(animals.manifest.contract.noise, SEEDS, [0] * 4)
    with torch.no_grad():
        (expected,) = toy(torch.from_numpy(LABELS), *(torch.from_numpy(value) for value in noise.values()))
    ours = animals.generator().generate({"label": LABELS}, SEEDS, [0] * 4)["picture"]
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-5)
    assert len({row.tobytes() for row in ours}) == 4


def test_triton_serves_it_with_the_same_images(animals: Bundle, served: TritonServer) -> None:
    assert served.models == ("animals_core", "animals", "animals_png")  # an image comes out
    ours = animals.generator().generate({"label": LABELS}, SEEDS, [0] * 4)["picture"]
    for url in (served.http_url, f"grpc://{served.grpc_url}"):
        client = TritonClient(url)
        theirs = TritonGenerator(client, "animals").generate({"label": LABELS}, SEEDS, [0] * 4)["picture"]
        client.close()
        np.testing.assert_array_equal(theirs, ours)


def test_its_golden_samples_verify(animals: Bundle) -> None:
    figures = verify_bundle(animals)["model.onnx"]
    assert all(figure.passed for figure in figures.values()), figures


def test_translating_images_with_it_is_refused_with_the_reason(animals: Bundle, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes((animals.path / "golden" / "0-picture.png").read_bytes())
    done = run_here("cgan-translate", tmp_path / "in.png", "--bundle", animals.path, "--seed", "1")
    assert_one_sentence(done, 2, "animals takes label and cannot translate images")
