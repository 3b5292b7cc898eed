"""The model card: what it says of every family is read from the contract, and what it shows to copy runs."""

from __future__ import annotations

import re

import pytest
from cgan_export.bundle.model_card import model_card
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import (
    Condition,
    Contract,
    HeatmapEncoding,
    ImageEncoding,
    LabelEncoding,
    NoiseInput,
    Output,
    ScoreEncoding,
    VectorEncoding,
)
from cgan_runtime.manifest import Artifact, Batch, Figure, Provenance

from tests.pages import HOSTILE

IMAGE = Output(name="picture", shape=(3, 8, 12), range=(-1, 1), meaning="photo", encoding=ImageEncoding())
ORIGIN = Provenance(
    checkpoint="best.pt",
    checkpoint_sha256="ab" * 32,
    options={"classes": [str(n) for n in range(40)], "dropout": True, "palette": None},
    training={"images": 250000, "val_energy": 0.0136632, "dataset": {"name": "mnist-5k", "held_out": None}},
    created="2026-11-25T19:35:22+00:00",
    versions={"cgan-deploy": "0.1.0"},
    command="cgan-export best.pt",
)


def artifact(path: str, precision: str, **figures: Figure) -> Artifact:
    return Artifact.model_validate(
        {
            "path": path,
            "sha256": "0" * 64,
            "bytes": 1,
            "backend": "onnxruntime",
            "precision": precision,
            "batch": Batch(),
            "size": None,
            "fidelity": figures,
        }
    )


def contract(*conditions: Condition, noise: int = 0, outputs: tuple[Output, ...] = (IMAGE,)) -> Contract:
    return Contract(
        conditions=conditions,
        noise=tuple(NoiseInput(name=f"z{n}", index=n, distribution="normal", shape=(4,)) for n in range(noise)),
        outputs=outputs,
        statistics="none",
    )


def card(of: Contract, origin: Provenance = ORIGIN, *artifacts: Artifact) -> str:
    return model_card("x", "toy", of, artifacts or (artifact("model.onnx", "fp32"),), origin)


def table(text: str, title: str) -> list[list[str]]:
    """The cells of the table below a heading; every row has as many as the head."""
    rows = re.findall(r"^\|.*\|$", text.partition(f"## {title}\n")[2].partition("\n## ")[0], re.MULTILINE)
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    assert len({len(row) for row in cells}) == 1, cells
    return cells


def test_the_code_of_a_card_runs(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (bundle.path / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(bundle.path.parent)
    assert bundle.path.name == bundle.manifest.name
    exec(code, {})
    assert capsys.readouterr().out == "(1, 3, 64, 64)\n"


@pytest.mark.parametrize(
    ("of", "sentence"),
    [
        (
            contract(Condition(name="c", shape=(1, 8, 8), encoding=ImageEncoding(color="L", mean=(0,), std=(1,)))),
            "from a grey image it makes an RGB image (photo). There is no noise: one condition gives one result",
        ),
        (
            contract(Condition(name="label", dtype="int64", shape=(), encoding=LabelEncoding()), noise=1),
            "from a class and a seed it makes an RGB image (photo). One seed gives one result",
        ),
        (contract(noise=2), "from a seed it makes an RGB image (photo)."),
        (
            contract(
                Condition(name="a", shape=(3,), encoding=VectorEncoding(), meaning="style"),
                Condition(name="b", shape=(3,)),
                noise=1,
                outputs=(
                    Output(name="heat", shape=(1, 4, 4), range=(0, 1), encoding=HeatmapEncoding()),
                    Output(name="score", shape=(), encoding=ScoreEncoding()),
                ),
            ),
            "from a vector (style), a tensor and a seed it makes a heatmap and a score.",
        ),
    ],
)
def test_the_first_sentence_is_the_contract(of: Contract, sentence: str) -> None:
    assert sentence in card(of)


def test_every_tensor_has_a_row() -> None:
    label = Condition(name="label", dtype="int64", shape=(), encoding=LabelEncoding(names=("cat", "dog")))
    rows = table(card(contract(label, noise=1)), "What goes in and what comes out")
    assert rows[2:] == [
        ["condition", "`label`", "class, by number or name: cat, dog", "int64 []"],
        ["noise", "`z0`", "`normal`", "float32 [4]"],
        ["output", "`picture`", "RGB image of 12 x 8 pixels: photo", "float32 [3, 8, 12], -1 to 1"],
    ]


def test_checks_are_rows_and_artifacts_are_columns() -> None:
    def psnr(value: float, limit: float) -> Figure:
        return Figure(value=value, limit=limit, rule=">=", unit="dB", label="PSNR to PyTorch, worst sample")

    error = Figure(value=2e-6, limit=1e-4, rule="<=")
    rows = table(
        card(
            contract(noise=1),
            ORIGIN,
            artifact("model.onnx", "fp32", parity_psnr=psnr(141.6, 80), parity_max_abs=error),
            artifact("model.fp16.onnx", "fp16", parity_psnr=psnr(74.08, 60)),
        ),
        "Fidelity",
    )
    assert rows[0] == ["check", "`model.onnx`", "`model.fp16.onnx`"]
    assert rows[2:] == [
        ["PSNR to PyTorch, worst sample", "141.6 dB (≥ 80)", "74.08 dB (≥ 60)"],
        ["difference from PyTorch, largest", "2e-06 (≤ 0.0001)", ""],
    ]


def test_the_origin_is_in_words_and_no_python_value() -> None:
    text = card(contract(noise=1))
    rows = dict(table(text, "Where it comes from"))
    assert rows["training: images"] == "250000"
    assert rows["training: val energy"] == "0.01366"
    assert rows["training: dataset: name"] == "mnist-5k"
    assert rows["network: classes"].endswith("10, 11 and 28 more")
    assert rows["network: dropout"] == "yes"
    assert rows["exported"] == "2026-11-25 19:35:22 UTC"
    for python in ("None", "True", "{'", "['"):
        assert python not in text
    assert "assumed" not in text


def test_what_was_assumed_is_said() -> None:
    text = card(contract(noise=1), ORIGIN.model_copy(update={"assumed": ("dropout as in the paper",)}))
    assert "it was assumed:\n\n* dropout as in the paper\n" in text


def test_what_a_checkpoint_says_stays_text() -> None:
    said = f"{HOSTILE} | `x` ![a](b)\n# head"
    origin = ORIGIN.model_copy(
        update={"checkpoint": said, "training": {said: said}, "options": {"a": {said: [said]}}, "assumed": (said,)}
    )
    hostile = Condition(name="c", shape=(3,), meaning=said)
    text = card(contract(hostile, noise=1), origin)
    assert len(dict(table(text, "Where it comes from"))) == 7 + 1  # the rule is a row too
    assert not re.search(r"(?<!\\)<|(?<!\\)!\[a|^# head", text, re.MULTILINE)
