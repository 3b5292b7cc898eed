"""What is asked for on the command line: batches, sides, targets, memory; and what makes no sense is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from cgan_export.cli.export import main
from cgan_export.engine_flags import EngineFlags
from cgan_export.engines.profiles import parse_batches, profiles_for, shapes_of, whole_batch
from cgan_runtime.contract import Condition, Contract, ImageEncoding, NoiseInput, Output, SizeRule
from cgan_runtime.errors import UsageError
from cgan_runtime.manifest import Batch, Profile

from tests.toys import LabelGenerator

IMAGE = ImageEncoding()
FREE = Contract(
    conditions=(Condition(name="condition", shape=(3, "h", "w"), encoding=IMAGE),),
    noise=(
        NoiseInput(name="mask", index=0, distribution="mask", parameters={"p": 0.5}, shape=(4, "h/64", "w/64")),
        NoiseInput(name="z", index=1, distribution="normal", shape=(5,)),
    ),
    outputs=(Output(name="picture", shape=(3, "2*h", "2*w"), encoding=IMAGE),),
    statistics="per_sample",
    sides=SizeRule(multiple=64, min=64, max=4096),
)


@pytest.mark.parametrize(
    ("texts", "batches"),
    [
        (["1"], [(1, 1, 1)]),
        (["1..16"], [(1, 16, 16)]),
        (["1,1..16"], [(1, 1, 1), (1, 16, 16)]),
        (["1", "2..4..8"], [(1, 1, 1), (2, 4, 8)]),
        (["4", " 4 , 4"], [(4, 4, 4)]),
    ],
)
def test_batches_are_profiles_in_their_order(texts: list[str], batches: list[tuple[int, int, int]]) -> None:
    assert [(b.min, b.opt, b.max) for b in parse_batches(texts)] == batches


@pytest.mark.parametrize(
    "text", ["0", "-1", "16..1", "1..8..4", "1..", "a", "1...4", "", ",", "5000", "1..2..3..4"]
)
def test_batches_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--batch"):
        parse_batches([text])


def test_a_fixed_size_has_one_shape_for_each_batch() -> None:
    contract = LabelGenerator().contract
    (one, many) = profiles_for(contract, parse_batches(["1,1..16"]))
    assert shapes_of(contract, one) == {"label": ((1,),) * 3, "z": ((1, 16),) * 3, "grain": ((1, 1, 16, 16),) * 3}
    assert shapes_of(contract, many)["label"] == ((1,), (16,), (16,))
    assert whole_batch([one, many]) == Batch(min=1, opt=16, max=16)
    with pytest.raises(UsageError, match="--sides is for a bundle of free size"):
        profiles_for(contract, parse_batches(["1"]), "64..128")


def test_a_free_size_takes_masks_and_tensors_without_size_along() -> None:
    (profile,) = profiles_for(FREE, parse_batches(["2..4"]), "64..128..256")
    assert shapes_of(FREE, profile) == {
        "condition": ((2, 3, 64, 64), (4, 3, 128, 128), (4, 3, 256, 256)),
        "mask": ((2, 4, 1, 1), (4, 4, 2, 2), (4, 4, 4, 4)),
        "z": ((2, 5), (4, 5), (4, 5)),
    }


def test_without_sides_the_rule_of_the_contract_holds_up_to_1024_and_the_usual_size_is_tuned_for() -> None:
    (profile,) = profiles_for(FREE, parse_batches(["1"]), usual=(256, 320))
    assert profile == Profile(batch=Batch(), min=(64, 64), opt=(256, 320), max=(1024, 1024)).model_copy(
        update={"batch": Batch(min=1, opt=1, max=1)}
    )


@pytest.mark.parametrize("sides", ["65..128", "32..64", "64..8192", "128..64", "x"])
def test_sides_that_the_generator_does_not_take_are_refused(sides: str) -> None:
    with pytest.raises(UsageError, match="--sides"):
        profiles_for(FREE, parse_batches(["1"]), sides)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"batch": ["1"]}, "--batch is for an engine"),
        ({"target_gpu": "sm86"}, "--target-gpu is for an engine"),
        ({"workspace": "1G"}, "--workspace is for an engine"),
        ({"refit": True}, "--refit is for an engine"),
        ({"timing_cache": "off"}, "--timing-cache is for an engine"),
        ({"backend": "tensorrt-rtx", "version_compatible": True}, "--version-compatible is for --backend tensorrt"),
        (
            {"backend": "tensorrt-rtx", "hardware_compatible": "ampere_plus"},
            "--hardware-compatible is for --backend",
        ),
        ({"backend": "tensorrt-rtx", "timing_cache": "off"}, "--timing-cache is for --backend tensorrt"),
        ({"backend": "tensorrt", "target_gpu": "sm86"}, "--target is for --backend tensorrt-rtx"),
        ({"backend": "tensorrt-rtx", "target_gpu": "8.6"}, "--target 8.6 is not understood"),
        ({"backend": "tensorrt-rtx", "workspace": "lots"}, "--workspace lots is not understood"),
    ],
)
def test_options_that_would_do_nothing_are_refused(flags: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        EngineFlags(**flags).wish()  # type: ignore[arg-type]  # of any option


@pytest.mark.parametrize(
    ("text", "size"), [("512M", 512 << 20), ("4G", 4 << 30), ("4GiB", 4 << 30), ("1000", 1000), ("2kb", 2048)]
)
def test_memory_is_in_powers_of_1024(text: str, size: int) -> None:
    wish = EngineFlags(backend="tensorrt-rtx", workspace=text, target_gpu="sm120,sm86,sm86").wish()
    assert wish is not None
    assert wish.options.workspace == size
    assert wish.options.targets == ("sm86", "sm120")


def test_no_backend_is_no_engine() -> None:
    assert EngineFlags().wish() is None


def outcome(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0), capsys.readouterr().err


def test_wrong_words_are_refused_before_anything_is_made(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, told in (
        (("--target", "sm86"), "--target-gpu is for an engine"),
        (("--backend", "tensorrt-rtx", "--target", "sm90"), "--target sm90 is not known to TensorRT-RTX"),
        (("--backend", "tensorrt-rtx", "--target", "sm86", "--target-gpu", "sm89"), "both name GPUs"),
        (("--backend", "tensorflow"), "tensorflow"),
        (("--rebuild", "--size", "64"), "Unknown option: --size"),
        (("--backend", "tensorrt-rtx", "--batch", "0"), "--batch '0' is not understood"),
    ):
        code, error = outcome(capsys, checkpoint, *words)
        assert (code, told in error.splitlines()[-1]) == (2, True), error
    assert list(tmp_path.iterdir()) == []
