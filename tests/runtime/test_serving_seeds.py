"""Every seed that a client can name comes back as it was, and no two drawn seeds are the same."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import numpy as np
import pytest
from cgan_runtime.serving.server import TritonServer
from cgan_runtime.triton_client import TritonClient, TritonGenerator

from tests.runtime import tiny

SEEDS = [2**64 - 1, 2**63, 2**53 + 1, 2**53, 2**53 - 1, 0]
ROWS = 8


@pytest.fixture(scope="module", params=["http", "grpc"])
def client(tiny_server: TritonServer, request: pytest.FixtureRequest) -> Any:
    made = TritonClient(tiny_server.http_url if request.param == "http" else f"grpc://{tiny_server.grpc_url}")
    yield made
    made.close()


def column(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint64)[:, None]


@pytest.mark.parametrize("model", ["clouds", "clouds_png"])
def test_seeds_up_to_the_largest_are_echoed_as_they_are(client: TritonClient, model: str) -> None:
    answer = client.infer(model, {"seed": column(SEEDS)}, ["seed", "score"])
    assert answer["seed"].ravel().tolist() == SEEDS
    assert answer["seed"].dtype == np.uint64


def test_the_image_is_that_of_the_seed_and_not_of_a_rounded_one(client: TritonClient) -> None:
    made = TritonGenerator(client, "clouds").generate({}, SEEDS, [0] * len(SEEDS))["picture"]
    for row, seed in enumerate(SEEDS):
        np.testing.assert_allclose(made[row], tiny.clouds_formula(seed)["picture"], atol=1e-6)
    assert len({image.tobytes() for image in made}) == len(SEEDS)


def test_bare_digits_in_json_are_exact(tiny_server: TritonServer) -> None:
    """As curl sends them; the answer is read as text, because a JSON reader might round it back."""
    seeds = {"name": "seed", "datatype": "UINT64", "shape": [len(SEEDS), 1], "data": SEEDS}
    body = json.dumps({"inputs": [seeds], "outputs": [{"name": "seed"}]}).encode()
    request = urllib.request.Request(f"{tiny_server.http_url}/v2/models/clouds/infer", data=body)
    with urllib.request.urlopen(request, timeout=60) as reply:
        text = reply.read().decode().replace(" ", "")
    assert f'"data":[{",".join(map(str, SEEDS))}]' in text


def test_every_row_without_a_seed_gets_one_of_its_own(client: TritonClient) -> None:
    labels = np.ones((ROWS, 1), dtype=np.int64)
    answers = [client.infer("shoes", {"label": labels}, ["seed", "picture"]) for _ in range(2)]
    seeds = np.concatenate([answer["seed"].ravel() for answer in answers]).tolist()
    assert len(set(seeds)) == 2 * ROWS
    assert max(seeds) < 2**53
    assert max(seeds) > 2**45, "drawn from the whole range: all of 16 below a 256th of it are no chance"
    images = np.concatenate([answer["picture"] for answer in answers])
    assert len({image.tobytes() for image in images}) == 2 * ROWS
    again = client.infer("shoes", {"label": labels, "seed": answers[0]["seed"]}, ["picture"])["picture"]
    np.testing.assert_array_equal(again, answers[0]["picture"])
