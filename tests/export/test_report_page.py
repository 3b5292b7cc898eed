"""The page of the fidelity report, of made-up figures: the reason first, and maps that mean the same everywhere."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
from cgan_export.artifacts.artifacts import BuiltArtifact
from cgan_export.precisions import Precision
from cgan_export.report.diagnostics import Diagnostics, SpreadMaps
from cgan_export.report.layer_compare import Divergence, Layerwise
from cgan_export.report.page import report_html
from cgan_runtime.contract import (
    Condition,
    Contract,
    HeatmapEncoding,
    ImageEncoding,
    Output,
    ScoreEncoding,
)
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.manifest import Figure, Provenance
from PIL import Image

from tests.pages import HOSTILE, check_page

SHAPE = (3, 64, 64)
CONTRACT = Contract(
    conditions=(Condition(name="condition", shape=SHAPE, range=(-1, 1), encoding=ImageEncoding()),),
    noise=(),
    outputs=(Output(name="picture", shape=SHAPE, range=(-1, 1), encoding=ImageEncoding()),),
    statistics="per_sample",
)

ORIGIN = Provenance(
    checkpoint="best.pt",
    checkpoint_sha256="ab" * 32,
    created="2026-11-25T20:35:22+01:00",
    versions={"cgan-deploy": "4.5.6", "torch": "2.13.0"},
    command="cgan-export best.pt",
)

LIMITS = {"fp32": 80.0, "fp16": 60.0}


def artifact(precision: Precision, psnr_db: float) -> BuiltArtifact:
    """An artifact of which only the report is asked."""
    figures = {
        "batch_levels": Figure(value=0, limit=0, rule="<=", unit="levels"),
        "parity_psnr": Figure(value=psnr_db, limit=LIMITS[precision], rule=">=", unit="dB"),
    }
    if precision == "fp32":
        figures["parity_max_abs"] = Figure(value=2e-6, limit=1e-4, rule="<=")
    nothing = cast("SeededGenerator", None)
    return BuiltArtifact(precision=precision, model=b"model", measured=b"", figures=figures, generator=nothing)


def diagnostics(error: float, *, tensor: str | None = None) -> Diagnostics:
    """A worst sample that is off by `error` everywhere; layers where `tensor` names the first bad one."""
    theirs = np.linspace(-0.9, 0.9, 3 * 64 * 64, dtype=np.float32).reshape(3, 64, 64)
    divergence = None
    if tensor is not None:
        good = Layerwise(tensor="fine", operator="Conv", psnr_db=90, max_abs=0.001)
        divergence = Divergence(layers=(good, replace(good, tensor=tensor, psnr_db=20)), floor_db=60)
    return Diagnostics(
        output=CONTRACT.outputs[0],
        sample="number 3",
        psnr_db=41.0,
        condition=np.zeros((64, 64, 3), dtype=np.uint8),
        ours=(theirs + np.float32(error)),
        theirs=theirs,
        spread=None,
        divergence=divergence,
    )


def difference_map(page: str) -> npt.NDArray[np.uint8]:
    """The pixels of the map of differences."""
    (found,) = re.findall(r'src="data:image/png;base64,([^"]*)" alt="difference [^"]*"', page)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found))))


@pytest.mark.parametrize(
    ("precision", "error", "white"),
    [("fp32", 1e-6, False), ("fp32", 2e-4, True), ("fp16", 1e-4, False), ("fp16", 2.1e-3, True)],
)
def test_the_map_of_differences_is_white_at_the_limit_and_dark_for_a_good_export(
    precision: Precision, error: float, white: bool
) -> None:
    """FP16: 60 dB over a range of 2 is a root mean square of 0.002."""
    page = report_html("x", CONTRACT, [artifact(precision, 90)], [diagnostics(error)], ORIGIN)
    pixels = difference_map(page)
    assert (pixels == 255).all() == white
    assert white or pixels.max() < 60
    meaning = {
        "fp32": "0.0001, the largest difference that the gate allows",
        "fp16": "0.002, the root mean square difference at the limit of 60 dB",
    }[precision]
    assert f'<p class="heat"><span>0</span><i></i><span>{meaning}</span></p>' in page


def test_a_failed_report_begins_with_the_reason_and_the_artifact_that_failed() -> None:
    pair = [artifact("fp32", 150), artifact("fp16", 41.25)]
    page = report_html("x", CONTRACT, pair, [diagnostics(1e-6), diagnostics(0.01, tensor="/down.4/Conv")], ORIGIN)
    elements = check_page(page)
    reason = "model.fp16.onnx, PSNR to PyTorch, worst sample: 41.25 dB, needed at least 60 dB."
    assert elements.text.count(reason) == 1
    assert elements.text.index(reason) < elements.text.index("model.fp16.onnx (fp16)")
    assert elements.text.index("model.fp16.onnx (fp16)") < elements.text.index("model.onnx (fp32)")
    failed = page[page.index('<section id="artifact-1">') : page.index('<section id="artifact-2">')]
    assert failed.index("FAILED") < failed.index("in a batch or alone"), "the figure that failed comes first"
    assert "The first tensor below 60 dB is /down.4/Conv, made by Conv." in failed
    heads = re.findall(r"<th [^>]*>(.*?)</th>", failed[: failed.index("FAILED")])
    assert heads[:4] == ["check", "measured", "limit", ""]
    assert failed.count('<tr class="strong">') == 2  # the figure, and the layer
    assert "bundle.json" not in page, "there is no bundle"
    assert "The bundle has model.onnx, which passed. Left out:" in elements.text


def test_where_all_failed_nothing_is_said_to_have_passed() -> None:
    page = report_html("x", CONTRACT, [artifact("fp32", 40)], [diagnostics(0.01)], ORIGIN)
    assert "passed" not in check_page(page).text


def test_the_report_says_of_what_and_when_it_is() -> None:
    """In UTC; the digests whole, so that they can be compared."""
    built = artifact("fp32", 150)
    text = check_page(report_html("x", CONTRACT, [built], [diagnostics(1e-6)], ORIGIN)).text
    for words in (
        "Measured 2026-11-25 19:35 UTC with cgan-deploy 4.5.6.",
        "best.pt",
        ORIGIN.checkpoint_sha256,
        hashlib.sha256(built.model).hexdigest(),
        "torch 2.13.0",
        "The digest of the bundle is the last entry of bundle.json.",
    ):
        assert words in text
    assert "graph" not in text
    other = ORIGIN.model_copy(update={"graph": "BtoA"})
    assert "graph BtoA" in check_page(report_html("x", CONTRACT, [built], [diagnostics(1e-6)], other)).text


def test_hostile_names_stay_text() -> None:
    page = report_html(HOSTILE, CONTRACT, [artifact("fp16", 41)], [diagnostics(0.01, tensor=HOSTILE)], ORIGIN)
    assert check_page(page).text.count(HOSTILE) == 4  # title twice; the first bad tensor in words and in the table


def test_a_sample_that_is_not_finite_is_told() -> None:
    found = replace(diagnostics(0), psnr_db=float("-inf"), ours=np.full(SHAPE, np.nan, dtype=np.float32))
    page = report_html("x", CONTRACT, [artifact("fp32", 0)], [found], ORIGIN)
    assert "number 3, -∞ dB" in check_page(page).text
    assert (difference_map(page) == 255).all()


@pytest.mark.parametrize(
    ("output", "images", "said"),
    [
        (
            Output(name="map", shape=(1, 64, 64), range=(-1, 1), encoding=HeatmapEncoding()),
            3,
            "Worst of the samples",
        ),
        (Output(name="score", shape=(), encoding=ScoreEncoding()), 0, "Largest difference: 0.25."),
        (Output(name="vector", shape=(7,)), 0, "Largest difference: 0.25."),
    ],
    ids=lambda value: value.name if isinstance(value, Output) else "",
)
def test_outputs_that_are_no_images_have_a_report_too(output: Output, images: int, said: str) -> None:
    theirs = np.zeros(cast("tuple[int, ...]", output.shape), dtype=np.float32)
    found = replace(diagnostics(0), output=output, condition=None, theirs=theirs, ours=theirs + np.float32(0.25))
    contract = CONTRACT.model_copy(update={"outputs": (output,)})
    elements = check_page(report_html("x", contract, [artifact("fp16", 90)], [found], ORIGIN))
    assert len(elements.all("img")) == images
    assert said in elements.text


def test_every_output_is_held_to_its_own_limit() -> None:
    """The map may be 1e-3 of half its range off, which is 0.002: an error of 0.002 is on its limit."""
    second = Output(name="map", shape=(1, 64, 64), range=(0, 4), encoding=HeatmapEncoding())
    contract = CONTRACT.model_copy(update={"outputs": (*CONTRACT.outputs, second)})
    built = artifact("fp32", 150)
    built.figures["map.parity_relative"] = Figure(value=1e-3, limit=1e-3, rule="<=", label="map: difference")
    theirs = np.ones((1, 64, 64), dtype=np.float32)
    other = replace(diagnostics(0), output=second, condition=None, theirs=theirs, ours=theirs + np.float32(0.0021))
    page = report_html("x", contract, [built], [replace(diagnostics(1e-6), others=(other,))], ORIGIN)
    text = check_page(page).text
    assert "Worst of the samples of picture" in text
    assert "Worst of the samples of map" in text
    assert "map: difference" in text
    first, last = re.findall(
        r'src="data:image/png;base64,([^"]*)" alt="difference [^"]*; white is ([^,"]+), ', page
    )
    assert (first[1], last[1]) == ("0.0001", "0.002")
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(last[0])))) == 255).all()
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(first[0])))).max() < 60


def test_the_spread_is_shown_on_one_scale() -> None:
    level = np.ones(SHAPE)
    found = replace(diagnostics(0), spread=SpreadMaps(seeds=32, ours=0.2 * level, theirs=0.4 * level))
    elements = check_page(report_html("x", CONTRACT, [artifact("fp32", 150)], [found], ORIGIN))
    assert "PyTorch with its own noise0.40000" in elements.text.replace("\n", "")
    assert [a["alt"] for a in elements.all("img")][-2:] == [
        f"spread with {noise} noise: white is 0.4, the largest of both" for noise in ("PyTorch's own", "seeded")
    ]
    theirs, ours = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode((a["src"] or "").partition(",")[2]))))
        for a in elements.all("img")[-2:]
    )
    assert (theirs == 255).all()
    assert ours[0, 0].tolist() == [255, 128, 0]  # half of the scale
