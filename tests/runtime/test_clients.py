"""docs/clients.md is enough: its programs run as they stand, and make the image that the bundle makes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import ImageEncoding, NoiseInput
from cgan_runtime.encodings import encoder_of
from cgan_runtime.image_bytes import bytes_from_tensors, tensors_from_bytes
from cgan_runtime.images import read_image
from cgan_runtime.noise import noise
from cgan_runtime.noise_tensors import noise_tensors
from cgan_runtime.serving.server import TritonServer
from PIL import Image

from tests.helpers import REPOSITORY, png, smooth_images

PAGE = (REPOSITORY / "docs" / "clients.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"(?://|#) ([\w.]+)\n")
IMAGE = smooth_images(1, seed=5)[0]
# What the tests need beyond what they install; without it the language is skipped.
NEEDED = {"Node": "node", "Go": "go", "C++": "g++"}


def follow(section: str, folder: Path, server: TritonServer | None = None) -> None:
    """Save the section's programs, then run its shell lines, as a reader would."""
    program = NEEDED.get(section)
    if program is not None and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    (folder / "in.png").write_bytes(png(IMAGE))
    Image.fromarray(IMAGE).save(folder / "in.ppm")
    script = ["set -euo pipefail"]
    for language, code in BLOCK.findall(SECTIONS[section]):
        if server is not None:
            address = server.http_url.removeprefix("http://")
            code = code.replace("localhost:8000", address).replace("localhost:8001", server.grpc_url)  # noqa: PLW2901 - the same code elsewhere
        if language == "bash":
            script.append(code)
            continue
        named = NAME.match(code)
        assert named is not None, f"a program in {section} has no name"
        (folder / named[1]).write_text(code)
    run("bash", "-c", "\n".join(script), folder=folder)


def run(*words: str | Path, folder: Path) -> str:
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        words, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def expected(bundle: Bundle, seed: int) -> Any:
    """The pixels that the bundle itself makes of IMAGE."""
    (condition,), (output,) = bundle.manifest.contract.conditions, bundle.manifest.contract.outputs
    assert isinstance(output.encoding, ImageEncoding)
    tensor = encoder_of(condition).encode(png(IMAGE), condition)[None]
    made = bundle.generator().generate({condition.name: tensor}, [seed], [0])
    return bytes_from_tensors(made[output.name], output.encoding)[0]


@pytest.mark.parametrize(
    ("section", "seeds"),
    [
        ("curl", {"out-curl.png": 7}),
        ("Binary tensors", {"out-binary.png": 7}),
        (
            "Python",
            {
                "out-http.png": 7,
                "out-aio.png": 7,
                "out-async.png": 7,
                **{f"out-stream-{number}.png": 7 + number for number in range(3)},
                **{f"out-async-{seed}.png": seed for seed in range(20, 23)},
            },
        ),
        ("Node", {"out-node.png": 7, "out-node.ppm": 7}),
        ("Go", {"out-go.png": 2**64 - 1}),
    ],
)
def test_a_client_of_the_page_makes_the_image_of_its_seed(
    section: str, seeds: dict[str, int], server: TritonServer, bundle: Bundle, tmp_path: Path
) -> None:
    follow(section, tmp_path, server)
    assert {path.name for path in tmp_path.glob("out*")} == set(seeds)
    for name, seed in seeds.items():
        np.testing.assert_array_equal(np.asarray(read_image(tmp_path / name)), expected(bundle, seed), name)


def test_the_contract_is_read_in_one_call(server: TritonServer, bundle: Bundle, tmp_path: Path) -> None:
    follow("What a model takes", tmp_path, server)
    assert json.loads((tmp_path / "contract.json").read_text()) == bundle.manifest.contract.to_json()


def test_the_noise_in_cpp_has_the_published_hashes(tmp_path: Path) -> None:
    follow("C++", tmp_path)
    rules = (REPOSITORY / "docs" / "seeded-noise.md").read_text()
    hashes = re.findall(r"^\| `mask` .*`([0-9a-f]{64})` \|$", rules, re.MULTILINE)
    assert len(hashes) == 5
    assert (tmp_path / "hashes.txt").read_text().split() == hashes


@pytest.mark.parametrize(
    "item",
    [
        NoiseInput(name="z", index=1, distribution="mask", shape=(64, 2, 3), parameters={"p": 0.3}),
        NoiseInput(name="z", index=2, distribution="normal", shape=(33,)),
        NoiseInput(name="z", index=0, distribution="uniform01", shape=(9,)),
        NoiseInput(name="z", index=0, distribution="uniform11", shape=(9,)),
    ],
    ids=lambda item: item.distribution,
)
def test_the_noise_in_javascript_is_ours(item: NoiseInput, tmp_path: Path) -> None:
    follow_files("Node", tmp_path)
    call = f"noise({item.model_dump_json()}, {2**64 - 1}n, 3)"
    code = f"import {{ noise }} from './cgan.mjs'; console.log(JSON.stringify([...{call}]))"
    made = json.loads(run("node", "--input-type=module", "-e", code, folder=tmp_path))
    ours = noise_tensors([item], [2**64 - 1], [3])[item.name]
    # Words, masks and uniforms to the bit, normals within one unit in the last place: the promise of the rules.
    np.testing.assert_array_max_ulp(np.float32(made), ours.ravel(), 1 if item.distribution == "normal" else 0)


ENCODINGS = {
    "halves": ImageEncoding(),
    "truncate": ImageEncoding(color="L", mean=(0.0,), std=(1.0,), rounding="truncate"),
    "imagenet": ImageEncoding(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
}


def values_at_the_edges(encoding: ImageEncoding) -> np.ndarray:
    """float32 [C, 1, N]: every half and whole number of a byte, its neighbours, and some beyond both ends."""
    byte = np.arange(-8, 528, dtype=np.float32) / np.float32(2)
    mean, std = (np.array(part, dtype=np.float32)[:, None] for part in (encoding.mean, encoding.std))
    exact = (byte / np.float32(255) - mean) / std
    steps = [np.nextafter(exact, np.float32(way), dtype=np.float32) for way in (-9, 9)]
    return np.concatenate([exact, *steps], axis=1)[:, None]


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_pixels_in_javascript_are_ours(name: str, tmp_path: Path) -> None:
    follow_files("Node", tmp_path)
    encoding = ENCODINGS[name]
    every = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], len(encoding.mean), axis=2)
    values = values_at_the_edges(encoding)
    every.tofile(tmp_path / "bytes")
    values.tofile(tmp_path / "values")
    (tmp_path / "run.mjs").write_text(
        "import { readFileSync, writeFileSync } from 'node:fs'; import { pixelsOf, tensorOf } from './cgan.mjs';\n"
        f"const encoding = {encoding.model_dump_json()};\n"
        "writeFileSync('tensor', Buffer.from(tensorOf(readFileSync('bytes'), encoding).buffer));\n"
        "const values = new Float32Array(new Uint8Array(readFileSync('values')).buffer);\n"
        "writeFileSync('pixels', pixelsOf(values, encoding));\n"
    )
    run("node", "run.mjs", folder=tmp_path)
    ours = tensors_from_bytes(every[None], encoding)
    assert (tmp_path / "tensor").read_bytes() == ours.tobytes()
    assert (tmp_path / "pixels").read_bytes() == bytes_from_tensors(values[None], encoding).tobytes()


def test_the_pixels_and_normals_in_cpp_are_ours(tmp_path: Path) -> None:
    follow_files("C++", tmp_path)
    encoding = ENCODINGS["imagenet"]
    values = values_at_the_edges(encoding)
    values.tofile(tmp_path / "values")
    (tmp_path / "run.cpp").write_text(
        '#define main unused\n#include "noise.cpp"\n#undef main\n'
        f"const float mean[3] = {{{', '.join(f'{v}f' for v in encoding.mean)}}};\n"
        f"const float std_[3] = {{{', '.join(f'{v}f' for v in encoding.std)}}};\n"
        "int main() {\n"
        "  for (float v : normal(33, 7, 2, 3)) std::fwrite(&v, 4, 1, stdout);\n"
        "  for (int c = 0; c < 3; ++c) for (int p = 0; p < 256; ++p) {\n"
        "    float v = value_of(p, mean[c], std_[c]); std::fwrite(&v, 4, 1, stdout); }\n"
        '  std::FILE* file = std::fopen("values", "rb"); float v;\n'
        f"  for (int i = 0; std::fread(&v, 4, 1, file) == 1; ++i) {{ int c = i / {values.shape[2]};\n"
        "    std::putchar(pixel_of(v, mean[c], std_[c], true)); }\n}\n"
    )
    run("bash", "-c", "g++ -std=c++17 -O2 -ffp-contract=off run.cpp -o run && ./run > made", folder=tmp_path)
    made = (tmp_path / "made").read_bytes()
    normals = noise("normal", (33,), seed=7, tensor=2, draw=3)
    np.testing.assert_array_max_ulp(np.frombuffer(made[:132], dtype=np.float32), normals, 1)
    every = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert made[132 : 132 + 3 * 256 * 4] == tensors_from_bytes(every[None], encoding).tobytes()
    planes = bytes_from_tensors(values[None], encoding)[0, 0].T
    assert made[132 + 3 * 256 * 4 :] == planes.tobytes()


def follow_files(section: str, folder: Path) -> None:
    """Save the section's programs and run nothing."""
    if shutil.which(NEEDED[section]) is None:
        pytest.skip(f"{NEEDED[section]} is not installed")
    for language, code in BLOCK.findall(SECTIONS[section]):
        if language != "bash" and (named := NAME.match(code)):
            (folder / named[1]).write_text(code)
