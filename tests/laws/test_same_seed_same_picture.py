"""The promise: one seed, one image, on every backend, in any batch, on every server, after any restart."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cgan_export.graph.statistics import with_statistics
from cgan_export.pytorch.runner import TorchRunner
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import ImageEncoding
from cgan_runtime.generator import SeededGenerator, noise_tensors
from cgan_runtime.images import pixels_from_tensor, png_text, read_image
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.server import ServerOptions, TritonServer
from cgan_runtime.triton_client import TritonClient, TritonGenerator, TritonRunner
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator

from tests.helpers import free_ports, png, smooth_images

Pixels = npt.NDArray[np.uint8]
Tensor = npt.NDArray[np.float32]
IMAGES = smooth_images(5, seed=77)
CONDITIONS: Tensor = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2), dtype=np.float32) / 127.5 - 1
SEED = 7


def pixels(bundle: Bundle, tensor: Tensor) -> Pixels:
    output = bundle.manifest.contract.image_output
    assert output is not None
    assert isinstance(output.encoding, ImageEncoding)
    return pixels_from_tensor(tensor, output.encoding)


@pytest.fixture(scope="module")
def reference(bundle: Bundle) -> Pixels:
    """Seed 7 on condition 0, from ONNX Runtime alone."""
    with bundle.runner() as runner:
        tensor = SeededGenerator(runner).generate({"condition": CONDITIONS[:1]}, [SEED], [0])["picture"][0]
    return pixels(bundle, tensor)


def assert_same_on_another_runtime(ours: Pixels, reference: Pixels) -> None:
    """At most 1 level on at most 0.1 % of the pixels."""
    apart = np.abs(ours.astype(np.int16) - reference.astype(np.int16))
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 0.001


def test_the_image_has_contrast_so_that_equality_means_something(reference: Pixels) -> None:
    assert reference.std() > 20


def test_pytorch_with_the_same_masks(generator: Pix2pixGenerator, bundle: Bundle, reference: Pixels) -> None:
    fixed, contract = with_statistics(generator, bundle.manifest.contract, None)
    torch_side = SeededGenerator(TorchRunner(fixed, contract))
    tensor = torch_side.generate({"condition": CONDITIONS[:1]}, [SEED], [0])["picture"][0]
    assert_same_on_another_runtime(pixels(bundle, tensor), reference)


def test_pytorch_as_it_was_trained_on_a_batch_of_one(
    generator: Pix2pixGenerator, bundle: Bundle, reference: Pixels
) -> None:
    """Train-mode batch-norm, nothing of the exporter in between: pix2pix's own test rule."""
    masks = noise_tensors(bundle.manifest.contract.noise, [SEED], [0])
    running = {name: value.clone() for name, value in generator.named_buffers()}
    generator.train()
    with torch.no_grad():
        (tensor,) = generator(torch.from_numpy(CONDITIONS[:1]), *(torch.from_numpy(m) for m in masks.values()))
    for name, value in generator.named_buffers():
        value.copy_(running[name])
    assert_same_on_another_runtime(pixels(bundle, tensor[0].numpy()), reference)


@pytest.mark.parametrize("position", range(5))
def test_in_a_batch_of_five_at_any_position(bundle: Bundle, reference: Pixels, position: int) -> None:
    order = [1, 2, 3, 4]
    order.insert(position, 0)
    seeds = [100 + i for i in range(5)]
    seeds[position] = SEED
    with bundle.runner() as runner:
        batch = SeededGenerator(runner).generate({"condition": CONDITIONS[order]}, seeds, [0] * 5)["picture"]
    np.testing.assert_array_equal(pixels(bundle, batch[position]), reference)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
@pytest.mark.parametrize("kind", [TritonGenerator, TritonRunner])
def test_from_triton(
    server: TritonServer, bundle: Bundle, reference: Pixels, scheme: str, kind: Callable[..., object]
) -> None:
    """The server fills the noise (`facades`), or the client does (`facades_core`)."""
    client = TritonClient(address(server, scheme))
    if kind is TritonGenerator:
        tensor = TritonGenerator(client, "facades").generate({"condition": CONDITIONS[:1]}, [SEED], [0])["picture"]
    else:
        remote = SeededGenerator(TritonRunner(client, "facades_core"))
        tensor = remote.generate({"condition": CONDITIONS[:1]}, [SEED], [0])["picture"]
    client.close()
    np.testing.assert_array_equal(pixels(bundle, tensor[0]), reference)


def test_from_triton_as_png(server: TritonServer, bundle: Bundle, reference: Pixels) -> None:
    client = TritonClient(address(server, "http"))
    file = client.infer("facades_png", png_request(SEED), ["picture"])["picture"][0, 0]
    client.close()
    np.testing.assert_array_equal(np.asarray(read_image(file)), reference)
    assert png_text(file)["cgan-model-digest"] == bundle.model_digest
    assert png_text(file)["cgan-seed"] == str(SEED)


def test_from_triton_under_sixteen_concurrent_requests_with_different_seeds(
    server: TritonServer, bundle: Bundle, reference: Pixels
) -> None:
    seeds = [SEED + i for i in range(16)]

    def ask(seed: int) -> Pixels:
        client = TritonClient(address(server, "grpc"))
        tensor = TritonGenerator(client, "facades").generate({"condition": CONDITIONS[:1]}, [seed], [0])
        client.close()
        return pixels(bundle, tensor["picture"][0])

    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, seeds))
    with bundle.runner() as runner:
        alone = [
            SeededGenerator(runner).generate({"condition": CONDITIONS[:1]}, [seed], [0])["picture"][0]
            for seed in seeds
        ]
    np.testing.assert_array_equal(together[0], reference)
    for seed, concurrent, single in zip(seeds, together, alone, strict=True):
        np.testing.assert_array_equal(concurrent, pixels(bundle, single), err_msg=f"seed {seed}")
    assert len({image.tobytes() for image in together}) == 16


def test_after_a_server_restart(bundle: Bundle, server_environment: ServerEnvironment, reference: Pixels) -> None:
    images = []
    for _ in range(2):
        options = ServerOptions(ports=free_ports(), drain_seconds=2)
        with TritonServer([bundle], server_environment, options) as restarted:
            client = TritonClient(address(restarted, "grpc"))
            remote = TritonGenerator(client, "facades")
            images.append(remote.generate({"condition": CONDITIONS[:1]}, [SEED], [0])["picture"][0])
            client.close()
    for image in images:
        np.testing.assert_array_equal(pixels(bundle, image), reference)


def test_another_seed_gives_another_image(bundle: Bundle, reference: Pixels) -> None:
    with bundle.runner() as runner:
        for seed, draw in ((8, 0), (0, 0), (2**64 - 1, 0), (SEED, 1)):
            other = SeededGenerator(runner).generate({"condition": CONDITIONS[:1]}, [seed], [draw])["picture"][0]
            assert (pixels(bundle, other) != reference).mean() > 0.05, (seed, draw)


def address(server: TritonServer, scheme: str) -> str:
    return server.http_url if scheme == "http" else f"grpc://{server.grpc_url}"


def png_request(seed: int) -> dict[str, npt.NDArray[np.generic]]:
    image = np.array([[png(IMAGES[0])]], dtype=object)
    return {"image": image, "seed": np.array([[seed]], dtype=np.uint64)}
