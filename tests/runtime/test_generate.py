"""cgan-generate as a user meets it: classes, vectors, several images, no condition at all; scores and files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cgan_runtime import __version__
from cgan_runtime.bundle import Bundle
from cgan_runtime.cli.generate import main
from cgan_runtime.encodings.heatmap import heatmap_pixels
from cgan_runtime.images import png_text, read_image
from cgan_runtime.jobs import plan_jobs
from cgan_runtime.serving.server import TritonServer

from tests.helpers import assert_one_sentence, png, run_here, smooth_images
from tests.runtime import tiny

CONTENT, STYLE = smooth_images(2, size=16, seed=5)


def generate(*words: str | Path, command: str = "cgan-generate") -> subprocess.CompletedProcess[str]:
    return run_here(command, *words)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with content.png, style.png and code.npy."""
    root = tmp_path_factory.mktemp("images")
    (root / "content.png").write_bytes(png(CONTENT))
    (root / "style.png").write_bytes(png(STYLE))
    np.save(root / "code.npy", np.array([0.5, -1, 2, 0]))
    return root


def scaled(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(2, 0, 1) / 127.5 - 1


def levels_apart(path: Path, expected: np.ndarray) -> int:
    """Largest difference of a PNG from 8-bit values that were not yet rounded."""
    return int(np.abs(np.asarray(read_image(path)).astype(float) - np.rint(expected)).max())


def test_a_class_by_name_and_by_number_gives_the_images_of_the_formula(shoes: Bundle, tmp_path: Path) -> None:
    common = ("--bundle", shoes.path, "--samples", "3", "--seed", "5")
    done = generate(*common, "--label", "Sneaker", "-o", tmp_path / "name")
    assert done.returncode == 0, done.stderr
    files = [tmp_path / "name" / f"shoes-sneaker-{draw}.png" for draw in range(3)]
    assert done.stdout.split() == [str(path) for path in files]
    for draw, path in enumerate(files):
        assert levels_apart(path, tiny.shoes_formula(1, 5, draw)[0] * 255) == 0
        assert png_text(path.read_bytes())["cgan-draw"] == str(draw)
    assert len({path.read_bytes() for path in files}) == 3
    for number, words in enumerate((("--label", "1"), ("--set", "label=1"), ("--set", "label=sneaker"))):
        assert generate(*common, *words, "-o", tmp_path / str(number), "--batch", "2").returncode == 0
        for path in files:
            assert (tmp_path / str(number) / path.name).read_bytes() == path.read_bytes()


def test_a_generator_without_conditions_gives_images_and_scores(clouds: Bundle, tmp_path: Path) -> None:
    done = generate("--bundle", clouds.path, "--samples", "2", "--seed", "5", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0::2] == [str(tmp_path / f"clouds-{draw}.png") for draw in range(2)]
    for draw, line in enumerate(lines[1::2]):
        sample, output, value = line.split("\t")
        expected = tiny.clouds_formula(5, draw)
        assert (sample, output) == (f"clouds-{draw}", "score")
        assert float(value) == pytest.approx(expected["score"], abs=1e-6)
        pixels = (expected["picture"].transpose(1, 2, 0) + 1) * 127.5
        assert levels_apart(tmp_path / f"clouds-{draw}.png", pixels) == 0


def test_two_images_and_a_vector_give_every_output(blends: Bundle, images: Path, tmp_path: Path) -> None:
    words = (images / "content.png", "--bundle", blends.path, "--seed", "5", "--style", images / "style.png")
    done = generate(*words, "--style-code", images / "code.npy", "-o", tmp_path / "a", "--json")
    assert done.returncode == 0, done.stderr
    (sample,) = json.loads(done.stdout)["pictures"]
    expected = tiny.blends_formula(scaled(CONTENT), scaled(STYLE), np.array([0.5, -1, 2, 0]), 5)
    files = {
        name: str(tmp_path / "a" / f"content-{name}{suffix}")
        for name, suffix in (("picture", ".png"), ("change", ".png"), ("features", ".npy"))
    }
    assert {name: sample["outputs"][name] for name in files} == files
    assert sample["output"] == files["picture"]
    assert sample["outputs"]["score"]["value"] == pytest.approx(expected["score"], abs=1e-6)
    assert sample["outputs"]["score"]["is_positive"] == (expected["score"] >= 0.25)
    assert levels_apart(Path(files["picture"]), (expected["picture"].transpose(1, 2, 0) + 1) * 127.5) == 0
    assert levels_apart(Path(files["change"]), heatmap_pixels(expected["change"][0], (0, 2))) <= 1
    np.testing.assert_allclose(np.load(files["features"]), expected["features"], atol=1e-6)
    numbers = "0.5,-1,2,0"
    forms = ((f"--style_code={numbers}",), ("--set", f"style_code={numbers}"), ("--set", f"style-code={numbers}"))
    for index, form in enumerate(forms):
        target = tmp_path / str(index)
        done = generate(*words, *form, "-o", target, command="cgan-translate")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].startswith(f"{images / 'content.png'}\tscore\t")
        assert (target / "content-picture.png").read_bytes() == Path(files["picture"]).read_bytes()


def test_every_image_may_be_given_by_its_own_name(blends: Bundle, images: Path, tmp_path: Path) -> None:
    words = ("--bundle", blends.path, "--seed", "5", "--style", images / "style.png", "--style-code", "0,0,0,0")
    a = generate(images / "content.png", *words, "-o", tmp_path / "a")
    b = generate("--content", images / "content.png", *words, "-o", tmp_path / "b")
    assert a.returncode == b.returncode == 0, b.stderr
    first, second = tmp_path / "a" / "content-picture.png", tmp_path / "b" / "blends-picture.png"
    assert first.read_bytes() == second.read_bytes()


def test_heatmaps_take_the_original_size_too(blends: Bundle, images: Path, tmp_path: Path) -> None:
    read_image(images / "content.png").resize((40, 24)).save(tmp_path / "wide.png")
    words = ("--style", images / "style.png", "--style-code", "0,0,0,0", "--original-size", "-o", tmp_path)
    done = generate(tmp_path / "wide.png", "--bundle", blends.path, "--seed", "5", *words)
    assert done.returncode == 0, done.stderr
    for name in ("picture", "change"):
        assert read_image(tmp_path / f"wide-{name}.png").size == (40, 24)


def test_one_sample_may_go_to_a_file(shoes: Bundle, tmp_path: Path) -> None:
    words = ("--bundle", shoes.path, "--label", "bag", "--seed", "5")
    assert generate(*words, "-o", tmp_path / "bag.png").returncode == 0
    assert generate(*words, "-o", tmp_path).returncode == 0
    assert (tmp_path / "bag.png").read_bytes() == (tmp_path / "shoes-bag.png").read_bytes()


def test_the_same_files_come_from_a_server(
    shoes: Bundle, clouds: Bundle, blends: Bundle, images: Path, tiny_server: TritonServer, tmp_path: Path
) -> None:
    code = ("--style", images / "style.png", "--style-code", "1,2,3,4")
    cases: list[tuple[Bundle, tuple[str | Path, ...]]] = [
        (shoes, ("--label", "sneaker")),
        (clouds, ()),
        (blends, (images / "content.png", *code)),
    ]
    for bundle, words in cases:
        name = bundle.manifest.name
        common = (*words, "--samples", "3", "--seed", str(2**64 - 1), "--json", "-o")
        here = generate("--bundle", bundle.path, *common, tmp_path / "here")
        grpc = ("--url", f"grpc://{tiny_server.grpc_url}", "--model", name)
        there = generate(*grpc, *common, tmp_path / "there")
        assert here.returncode == there.returncode == 0, here.stderr + there.stderr
        said = [json.loads(done.stdout.replace("/there/", "/here/")) for done in (here, there)]
        assert [one.pop("runtime") is None for one in said] == [False, True]  # Triton alone does not say it
        assert said[0] == said[1]
    here_files = sorted(p.name for p in (tmp_path / "here").iterdir())
    assert len(here_files) == 3 + 3 + 9
    for file in here_files:
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes(), file


MISTAKES: list[tuple[tuple[str, ...], int, list[str]]] = [
    ((), 2, ["--bundle FOLDER and --url ADDRESS"]),
    (("--bundle", "SHOES"), 2, ["shoes needs label: give --label 0 to 2, or a name (boot, sneaker, bag)"]),
    (("--bundle", "SHOES", "--label", "snaeker"), 2, ["'snaeker' is not a class", "did you mean sneaker?"]),
    (("--bundle", "SHOES", "--label", "3"), 2, ["label 3 is out of range; give 0 to 2"]),
    (("--bundle", "SHOES", "--label", "-1"), 2, ["label"]),
    (("--bundle", "SHOES", "--label", "1", "--samples", "0"), 2, ["--samples"]),
    (("--bundle", "SHOES", "--label", "1", "--sampels", "2"), 2, ["Unknown option: --sampels", "--samples"]),
    (("--bundle", "SHOES", "--lable", "1"), 2, ["Unknown option: --lable", "--label"]),
    (("--bundle", "SHOES", "--label", "1", "--set", "label=2"), 2, ["label is given twice"]),
    (("--bundle", "SHOES", "--set", "labl=2"), 2, ["shoes has no condition labl; did you mean label?"]),
    (("--bundle", "SHOES", "--set", "label"), 2, ["--set label: NAME=VALUE is needed"]),
    (("--bundle", "SHOES", "CONTENT", "--label", "1"), 2, ["shoes takes label and cannot translate images"]),
    (("--bundle", "SHOES", "--label", "1", "--backend", "tensorrt"), 3, ["no tensorrt fp32 artifact, only"]),
    (
        ("--bundle", "SHOES", "--label", "1", "--device", "tpu"),
        2,
        ["no device 'tpu'", "cpu, cuda, cuda:N, tensorrt or tensorrt:N"],
    ),
    (("--bundle", "CLOUDS", "--label", "1"), 2, ["clouds has no label; it takes no condition"]),
    (
        ("--bundle", "CLOUDS", "--samples", "2", "-o", "x.png"),
        2,
        ["2 files (.png) cannot go to the one file x.png"],
    ),
    (("--bundle", "BLENDS"), 2, ["blends needs an image for content"]),
    (
        ("--bundle", "BLENDS", "CONTENT"),
        2,
        ["blends needs style: give --style a PNG, JPEG, WebP, TIFF, BMP, PPM or GIF image"],
    ),
    (("--bundle", "BLENDS", "CONTENT", "--style", "CONTENT"), 2, ["needs style_code", "--style-code 4 numbers"]),
    (("--bundle", "BLENDS", "CONTENT", "--style-code", "1,2"), 2, ["style_code has 2 numbers, 4 are needed"]),
    (("--bundle", "BLENDS", "CONTENT", "--content", "CONTENT"), 2, ["content is given twice"]),
    (("--bundle", "BLENDS", "CONTENT", "--style", "no.png"), 3, ["no.png cannot be read"]),
    (("--versoin",), 2, ["Unknown option: --versoin", "--version"]),
    (("--bundle", "SHOES", "--label", "1", "--jsno"), 2, ["Unknown option: --jsno", "--json"]),
]


@pytest.mark.parametrize(("words", "code", "parts"), MISTAKES)
def test_mistakes_get_one_sentence(
    shoes: Bundle,
    clouds: Bundle,
    blends: Bundle,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    parts: list[str],
) -> None:
    """In this process: starting Python for each would take most of the time."""
    monkeypatch.chdir(tmp_path)
    names = {
        "SHOES": str(shoes.path),
        "CLOUDS": str(clouds.path),
        "BLENDS": str(blends.path),
        "CONTENT": str(images / "content.png"),
    }
    monkeypatch.setattr(sys, "argv", ["cgan-generate", *(names.get(word, word) for word in words)])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own handler
    with pytest.raises(SystemExit) as end:
        main()
    done = subprocess.CompletedProcess(sys.argv, int(end.value.code or 0), *capsys.readouterr())
    assert_one_sentence(done, code, *parts)
    assert list(tmp_path.iterdir()) == []


def test_the_command_knows_its_version_and_explains_itself() -> None:
    assert generate("--version").stdout.strip() == __version__
    text = generate("--help").stdout
    for word in ("Usage: ", "--label", "--set", "--samples", "--json", "--url", "--backend", "--device"):
        assert word in text


def test_numbers_may_begin_with_a_negative_one(blends: Bundle, images: Path, tmp_path: Path) -> None:
    words = (images / "content.png", "--bundle", blends.path, "--seed", "5", "--style", images / "style.png")
    for name, code in (("a", ("--style-code", "-0.5,1,2,0")), ("b", ("--style-code=-0.5,1,2,0",))):
        done = generate(*words, *code, "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
    first, second = (tmp_path / name / "content-picture.png" for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    done = generate(*words, "--sed", "-1")
    assert_one_sentence(done, 2, "Unknown option: --sed", "--seed")


def test_a_class_with_a_dot_in_its_name_has_a_file_of_its_own(clouds: Bundle, tmp_path: Path) -> None:
    jobs = plan_jobs(clouds.manifest.contract.outputs, [(None, Path("dogs-St. Bernard"))], tmp_path, samples=1)
    assert jobs[0].targets["picture"] == tmp_path / "dogs-St. Bernard.png"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--url", "http://127.0.0.1:9", "--model", "m", "--precision", "fp16"), ["--precision is for a bundle"]),
        (("--url", "http://127.0.0.1:9", "--model", "m", "--threads", "2"), ["--threads is for a bundle"]),
        (("--bundle", "BUNDLE", "--model", "clouds"), ["--model names the generator of a server"]),
        (("--bundle", "BUNDLE", "--original-size"), ["--original-size is the size of an input image"]),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    clouds: Bundle, tmp_path: Path, words: tuple[str, ...], parts: list[str]
) -> None:
    given = [str(clouds.path) if word == "BUNDLE" else word for word in words]
    assert_one_sentence(generate(*given, "-o", tmp_path), 2, *parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("batch", ["1", "4"])
def test_values_that_are_not_finite_become_no_file_of_any_output_and_stop_no_other(
    logs: Bundle, tmp_path: Path, batch: str
) -> None:
    for name, level in (("bright", 200), ("dark", 100), ("light", 250)):
        (tmp_path / f"{name}.png").write_bytes(png(np.full((16, 16, 3), level, dtype=np.uint8)))
    files = [tmp_path / f"{name}.png" for name in ("bright", "dark", "light")]
    done = generate(*files, "--bundle", logs.path, "--batch", batch, "--json", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert f"{tmp_path / 'dark.png'}: 768 of 768 values that the generator gave for picture" in done.stderr
    assert [Path(item["input"]).stem for item in json.loads(done.stdout)["pictures"]] == ["bright", "light"]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["bright-features.npy", "bright.png", "light-features.npy", "light.png"]
    alone = generate(tmp_path / "dark.png", "--bundle", logs.path, "-o", tmp_path / "none")
    assert_one_sentence(alone, 1, "not finite numbers")
    assert not (tmp_path / "none").exists()
