"""One real Triton with contracts of every form: labels, several images, vectors, no condition; scores, heatmaps."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Condition, Contract, LabelEncoding
from cgan_runtime.encodings import decoder_of, encoder_of
from cgan_runtime.errors import ServerError, UsageError
from cgan_runtime.images import png_text, read_image
from cgan_runtime.serving.examples import command_line, curl_line, python_snippet, ready_text
from cgan_runtime.serving.repository import RepositoryOptions, model_names, package_files, write_repository
from cgan_runtime.serving.server import TritonServer
from cgan_runtime.serving.wire import png_inputs
from cgan_runtime.triton_client import TritonClient, TritonGenerator, TritonRunner
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tests.helpers import png, smooth_images
from tests.runtime import tiny

CONTENT, STYLE = smooth_images(2, size=16, seed=5)
CODE = np.array([[0.5, -1, 2, 0]], dtype=np.float32)
SEED = np.array([[5]], dtype=np.uint64)
ALL = ["picture", "change", "score", "features", "seed"]


@pytest.fixture(scope="module", params=["http", "grpc"])
def client(tiny_server: TritonServer, request: pytest.FixtureRequest) -> Any:
    made = TritonClient(tiny_server.http_url if request.param == "http" else f"grpc://{tiny_server.grpc_url}")
    yield made
    made.close()


def post(server: TritonServer, model: str, *inputs: tuple[str, str, list[Any]]) -> tuple[int, dict[str, Any]]:
    """A JSON request as curl would send it, one number or text a row; the answer's data by output."""
    items = [{"name": n, "datatype": kind, "shape": [len(data), 1], "data": data} for n, kind, data in inputs]
    body = json.dumps({"inputs": items}).encode()
    request = urllib.request.Request(f"{server.http_url}/v2/models/{model}/infer", data=body)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, {item["name"]: item["data"] for item in json.loads(reply.read())["outputs"]}
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def texts(*values: Any) -> np.ndarray:
    return np.array([[value] for value in values], dtype=object)


def expected_png(bundle: Bundle, output: str, tensors: dict[str, np.ndarray], seed: int, draw: int = 0) -> bytes:
    """The file that the bundle itself makes of one sample, without text: only the pixels are compared."""
    item = next(o for o in bundle.manifest.contract.outputs if o.name == output)
    results = bundle.generator().generate(tensors, [seed], [draw])
    data = decoder_of(item).decode(results[output][0], item)
    assert isinstance(data, bytes)
    return data


def same_pixels(a: bytes, b: bytes) -> bool:
    return np.array_equal(np.asarray(read_image(a)), np.asarray(read_image(b)))


def blend_tensors(bundle: Bundle) -> dict[str, np.ndarray]:
    content, style, _ = bundle.manifest.contract.conditions
    return {
        "content": encoder_of(content).encode(png(CONTENT), content)[None],
        "style": encoder_of(style).encode(png(STYLE), style)[None],
        "style_code": CODE,
    }


def test_every_contract_with_an_image_has_three_valid_models(
    shoes: Bundle, clouds: Bundle, blends: Bundle, tmp_path: Path
) -> None:
    for bundle in (shoes, clouds, blends):
        names = write_repository(tmp_path, bundle, RepositoryOptions())
        name = bundle.manifest.name
        assert names == model_names(bundle) == (f"{name}_core", name, f"{name}_png")
        for model in names:
            text_format.Parse((tmp_path / model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def test_a_repository_carries_all_that_its_models_import(shoes: Bundle, tmp_path: Path) -> None:
    """With the copied package alone on the path, everything that models.py imports is there."""
    write_repository(tmp_path, shoes, RepositoryOptions())
    folder = tmp_path / "shoes_png" / "1"
    assert all((folder / "cgan_runtime" / name).is_file() for name in package_files())
    code = (
        "import sys, types; sys.modules['triton_python_backend_utils'] = types.ModuleType('pb')\n"
        "import cgan_runtime.serving.models, cgan_runtime.runners.onnxruntime as last\n"
        "import cgan_runtime; print(cgan_runtime.__file__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PYTHONPATH": str(folder)}
    )
    assert done.stdout.startswith(str(folder)), done.stderr


def test_labels_by_name_and_number_and_text(tiny_server: TritonServer, client: TritonClient, shoes: Bundle) -> None:
    labels = texts("sneaker", "1", b"Sneaker", "bag")
    seeds = np.array([[5], [5], [5], [5]], dtype=np.uint64)
    answer = client.infer("shoes_png", {"label": labels, "seed": seeds}, ["picture", "seed"])
    files = answer["picture"][:, 0]
    assert files[0] == files[1] == files[2] != files[3]
    assert same_pixels(files[0], expected_png(shoes, "picture", {"label": np.array([1])}, 5))
    assert same_pixels(files[3], expected_png(shoes, "picture", {"label": np.array([2])}, 5))
    assert png_text(files[0])["cgan-model-digest"] == shoes.model_digest
    status, plain = post(
        tiny_server, "shoes_png", ("label", "BYTES", ["1"]), ("seed", "UINT64", [5]), ("base64", "BOOL", [True])
    )
    assert status == 200
    assert base64.b64decode(plain["picture"][0]) == files[0]


@pytest.mark.parametrize(
    ("label", "words"), [("snaeker", "did you mean sneaker?"), ("3", "label 3 is out of range; give 0 to 2")]
)
def test_a_class_that_is_none_is_a_4xx_with_the_choices(tiny_server: TritonServer, label: str, words: str) -> None:
    status, answer = post(tiny_server, "shoes_png", ("label", "BYTES", [label]), ("seed", "UINT64", [5]))
    assert status == 400
    assert words in answer["error"]


def test_two_images_go_under_their_own_names_and_every_output_comes_back(
    client: TritonClient, blends: Bundle
) -> None:
    """F5: with two images there was no image model at all."""
    inputs = {"content": texts(png(CONTENT)), "style": texts(png(STYLE)), "style_code": CODE, "seed": SEED}
    answer = client.infer("blends_png", inputs, ALL)
    tensors = blend_tensors(blends)
    for name in ("picture", "change"):
        assert same_pixels(answer[name][0, 0], expected_png(blends, name, tensors, 5))
    expected = tiny.blends_formula(tensors["content"][0], tensors["style"][0], CODE[0], 5)
    assert answer["score"].shape == (1, 1)
    assert answer["score"][0, 0] == pytest.approx(expected["score"], abs=1e-6)
    np.testing.assert_allclose(answer["features"][0], expected["features"], atol=1e-6)
    swapped = client.infer("blends_png", {**inputs, "content": inputs["style"], "style": inputs["content"]}, ALL)
    assert not same_pixels(swapped["picture"][0, 0], answer["picture"][0, 0])


def test_images_in_base64_are_answered_in_base64(client: TritonClient) -> None:
    coded = {name: texts(base64.b64encode(png(p))) for name, p in (("content", CONTENT), ("style", STYLE))}
    plain = {"content": texts(png(CONTENT)), "style": texts(png(STYLE)), "style_code": CODE, "seed": SEED}
    expected = client.infer("blends_png", plain, ["picture", "change"])
    for inputs in ({**plain, **coded}, {**plain, "base64": np.array([[True]])}):
        answer = client.infer("blends_png", inputs, ["picture", "change"])
        for name, value in expected.items():
            assert base64.b64decode(answer[name][0, 0]) == value[0, 0]


@pytest.mark.parametrize("line", ["\n", "\r\n", " \t\n"])
@pytest.mark.parametrize("before", ["", "\n", "data:image/png;base64,", "DATA:image/png;name=a.png;base64,\n"])
def test_base64_may_have_line_breaks_and_be_a_data_url(
    tiny_server: TritonServer, before: str, line: str, client: TritonClient
) -> None:
    """As `base64` without -w0, JavaScript's readAsDataURL and e-mail write it."""
    coded = base64.b64encode(png(np.full((16, 16, 3), 200, dtype=np.uint8))).decode()
    broken = before + line.join(textwrap.wrap(coded, 19)) + line
    seed: tuple[str, str, list[Any]] = ("seed", "UINT64", [5])
    answers = [post(tiny_server, "logs_png", ("image", "BYTES", [text]), seed) for text in (coded, broken)]
    assert answers[0] == answers[1]
    assert answers[1][0] == 200
    answer = client.infer("logs_png", {"image": texts(broken), "seed": SEED}, ["picture"])
    assert answer["picture"][0, 0].decode() == answers[0][1]["picture"][0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data:image/svg+xml,%3Csvg%3E", "image is a data URL without base64; give data:image/png;base64,"),
        ("data:image/png;base64,iVBORw0KGgo*", "image begins like base64 text but is not"),
        ("iVBORw0KG", "image begins like base64 text but is not"),
        ("data:image/png;base64,", "image is empty"),
    ],
)
def test_text_that_is_no_image_is_one_sentence(tiny_server: TritonServer, text: str, words: str) -> None:
    status, answer = post(tiny_server, "logs_png", ("image", "BYTES", [text]))
    assert status == 400
    assert words in answer["error"]


def test_a_dtype_no_model_takes_is_named(client: TritonClient) -> None:
    with pytest.raises(UsageError, match="seed is int32; one of float32"):
        client.infer("clouds", {"seed": SEED.astype(np.int32)}, ["picture"])


def test_a_bad_image_is_named(client: TritonClient) -> None:
    inputs = {"content": texts(png(CONTENT)), "style": texts(b"words"), "style_code": CODE, "seed": SEED}
    with pytest.raises(ServerError, match="style is not an image that can be read"):
        client.infer("blends_png", inputs, ["picture"])


@pytest.mark.parametrize("count", [1, 3, 8])
def test_without_conditions_the_seeds_say_how_many(client: TritonClient, clouds: Bundle, count: int) -> None:
    """F3: a generator without conditions had no row count."""
    seeds = list(range(5, 5 + count))
    ours = clouds.generator().generate({}, seeds, [0] * count)
    theirs = TritonGenerator(client, "clouds").generate({}, seeds, [0] * count)
    assert theirs["score"].shape == (count,)
    for name in ("picture", "score"):
        np.testing.assert_array_equal(theirs[name], ours[name])
    for row, seed in enumerate(seeds):
        np.testing.assert_allclose(theirs["picture"][row], tiny.clouds_formula(seed)["picture"], atol=1e-6)
    files = client.infer("clouds_png", {"seed": np.array(seeds, dtype=np.uint64)[:, None]}, ["picture"])["picture"]
    assert files.shape == (count, 1)
    assert same_pixels(files[-1, 0], expected_png(clouds, "picture", {}, seeds[-1]))


def test_without_conditions_or_seed_one_is_drawn_for_each_row(tiny_server: TritonServer, clouds: Bundle) -> None:
    in_text: tuple[str, str, list[Any]] = ("base64", "BOOL", [True, True])
    for inputs in ([in_text], [("draw", "UINT32", [0, 0]), in_text]):
        status, answer = post(tiny_server, "clouds_png", *inputs)
        assert status == 200, answer
        first, second = answer["seed"]
        assert first != second
        assert max(first, second) < 2**53
        files = [base64.b64decode(text) for text in answer["picture"]]
        assert same_pixels(files[1], expected_png(clouds, "picture", {}, second))
    status, answer = post(tiny_server, "clouds", ("draw", "UINT32", [3]))
    assert status == 200
    expected = clouds.generator().generate({}, [answer["seed"][0]], [3])
    np.testing.assert_allclose(answer["score"], expected["score"], rtol=1e-6)


def test_the_engine_itself_answers_scalars_in_the_contracts_form(client: TritonClient, blends: Bundle) -> None:
    tensors = {**blend_tensors(blends), "z": np.ones((1, 4), dtype=np.float32)}
    with blends.runner() as ours:
        expected = ours.infer(tensors)
    theirs = TritonRunner(client, "blends_core").infer(tensors)
    assert theirs["score"].shape == (1,)
    for name, value in expected.items():
        np.testing.assert_array_equal(theirs[name], value)


def run_lines(words: list[str], folder: Path) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_printed_lines_fit_each_contract_and_give_one_image(
    tiny_server: TritonServer, shoes: Bundle, clouds: Bundle, blends: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "in.png").write_bytes(png(CONTENT))
    (tmp_path / "style.png").write_bytes(png(STYLE))
    np.save(tmp_path / "style_code.npy", np.zeros(4))
    text = ready_text(tiny_server, [shoes, clouds, blends])
    for bundle in (shoes, clouds, blends):
        name, contract = bundle.manifest.name, bundle.manifest.contract
        curl = curl_line(tiny_server, f"{name}_png", contract)
        snippet = python_snippet(tiny_server, f"{name}_png", contract)
        command = command_line(tiny_server, name, contract)
        assert curl is not None
        assert curl in text
        assert snippet in text
        assert command in text
        made = []
        for words in (["bash", "-c", curl], [sys.executable, "-c", snippet]):
            run_lines(words, tmp_path)
            made.append((tmp_path / "out.png").read_bytes())
            (tmp_path / "out.png").unlink()
        program, rest = command.split(" ", 1)
        run_lines(["bash", "-c", f"{Path(sys.executable).with_name(program)} {rest}"], tmp_path)
        path = tmp_path / ("out/in-picture.png" if bundle is blends else "out.png")
        made.append(path.read_bytes())
        path.unlink()
        assert made[0] == made[1]
        assert same_pixels(made[0], made[2])
        assert png_text(made[0])["cgan-seed"] == "7"


@pytest.mark.parametrize(
    ("file", "address", "words"),
    [
        (b"words", None, "image is not an image that can be read"),
        (png(CONTENT[:, :, 0]), "http://127.0.0.1:9", "curl: (7)"),
    ],
)
def test_a_printed_line_shows_the_error_of_the_server_and_fails(
    tiny_server: TritonServer, logs: Bundle, tmp_path: Path, file: bytes, address: str | None, words: str
) -> None:
    (tmp_path / "in.png").write_bytes(file)
    line = curl_line(tiny_server, "logs_png", logs.manifest.contract)
    assert line is not None
    line = line.replace(tiny_server.http_url, address or tiny_server.http_url)
    words_of_shell = ["bash", "-c", line]
    done = subprocess.run(words_of_shell, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert words in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_names_that_a_shell_would_read_are_quoted(tiny_server: TritonServer, shoes: Bundle) -> None:
    odd = "it's 100% \\n; $HOME"
    contract = shoes.manifest.contract
    label = Condition(name="label", shape=(), dtype="int64", encoding=LabelEncoding(names=(odd,)))
    odd_contract = Contract.model_validate({**dict(contract), "conditions": (label,)})
    line = curl_line(tiny_server, "shoes_png", odd_contract)
    assert line is not None
    printed = run_lines(["bash", "-c", line.removeprefix("answer=$(").split(" \\\n")[0]], Path("/"))
    assert json.loads(printed)["inputs"][-1]["data"] == [odd]


def test_the_only_image_is_called_image_unless_the_name_is_taken(blends: Bundle) -> None:
    content, style, code = blends.manifest.contract.conditions

    def names(*conditions: Condition) -> list[str]:
        plain = {**dict(blends.manifest.contract), "conditions": conditions}
        return list(png_inputs(Contract.model_validate(plain)))

    assert names(content, code) == ["image", "style_code"]
    assert names(content, style) == ["content", "style"]
    assert names(content, code.model_copy(update={"name": "image"})) == ["content", "image"]


@pytest.mark.parametrize("label", [99, -1])
def test_a_number_that_is_no_class_is_a_4xx_for_its_request_alone(
    tiny_server: TritonServer, client: TritonClient, label: int
) -> None:
    good = {"label": np.array([[1]], dtype=np.int64), "seed": np.array([[5]], dtype=np.uint64)}
    expected = client.infer("shoes", good, ["picture"])["picture"]
    wanted = [1 if number % 2 else label for number in range(32)]

    def ask(value: int) -> tuple[int, dict[str, Any]]:
        return post(tiny_server, "shoes", ("label", "INT64", [value]), ("seed", "UINT64", [5]))

    with ThreadPoolExecutor(8) as pool:  # close enough together to be executed as one batch
        answers = list(pool.map(ask, wanted))
    for value, (status, answer) in zip(wanted, answers, strict=True):
        if value == 1:
            assert status == 200
            np.testing.assert_array_equal(np.ravel(answer["picture"]), expected.ravel())
        else:
            assert status == 400
            assert f"label {label} is out of range; give 0 to 2" in answer["error"]


def test_values_that_are_not_finite_are_an_error_of_their_request_and_no_png(tiny_server: TritonServer) -> None:
    answers = {}
    for level in (100, 200):
        data = base64.b64encode(png(np.full((16, 16, 3), level, dtype=np.uint8))).decode()
        answers[level] = post(tiny_server, "logs_png", ("image", "BYTES", [data]))
    status, answer = answers[100]
    assert status >= 400
    assert "768 of 768 values that the generator gave for picture are not finite" in answer["error"]
    assert answers[200][0] == 200
