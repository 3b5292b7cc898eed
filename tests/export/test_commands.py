"""cgan-export as people type it: sub-commands, graphs of a checkpoint, and the commands it names at the end."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import cgan_export
import pytest
from cgan_export.bundle.next_commands import next_commands, run_command
from cgan_export.cli.export import main
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.contract import Condition, Contract, LabelEncoding
from cgan_trainer.checkpoint import Graph, write_checkpoint

from tests.export.toys import EveryKind, Unconditional
from tests.helpers import assert_one_sentence, pix2pix_generator, run_here
from tests.toys import LabelGenerator


def outcome(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of cgan-export in this process."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    done = capsys.readouterr()
    return int(ended.value.code or 0), done.out, done.err


@pytest.mark.parametrize("words", [("verify",), ("--verify",)])
@pytest.mark.slow
def test_verify_is_a_command_and_an_option(
    words: tuple[str, ...], bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(capsys, *words, bundle.path, "--json")
    assert code == 0, err
    assert json.loads(out)["bundle"] == bundle.digest
    assert json.loads(out)["figures"]["golden_levels"]["label"] == "golden images, 8-bit levels"


@pytest.mark.parametrize("words", [("compare",), ("--compare",)])
def test_compare_is_a_command_and_an_option(
    words: tuple[str, ...], bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(capsys, *words, bundle.path, bundle.path, "--json")
    assert code == 0, err
    assert [drift["kept"] for drift in json.loads(out)["artifacts"]] == [True]


def test_two_paths_without_compare_are_one_sentence(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = outcome(capsys, bundle.path, bundle.path)
    assert code == 2
    assert "cgan-export compare OLD NEW" in err
    code, _, err = outcome(capsys, "compare", bundle.path)
    assert code == 2
    assert len(err.splitlines()) == 1
    code, _, err = outcome(capsys, "verify", bundle.path / "nothing")
    assert code == 3
    assert len([line for line in err.splitlines() if "error: " in line]) == 1


@pytest.fixture(scope="module")
def two_graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """horse2zebra.pt with AtoB and BtoA."""
    path = tmp_path_factory.mktemp("two") / "horse2zebra.pt"
    generators = {name: pix2pix_generator(ngf=4, seed=seed) for seed, name in enumerate(("AtoB", "BtoA"))}
    graphs = {
        name: Graph(options=asdict(g.options), contract=g.contract.to_json(), state=g.state_dict())
        for name, g in generators.items()
    }
    write_checkpoint(path, family="pix2pix", graphs=graphs, examples={}, provenance={})
    return path


@pytest.mark.slow
def test_the_first_graph_is_taken_and_the_others_are_named(
    two_graphs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = outcome(capsys, two_graphs)
    assert code == 0, err
    assert "also in this checkpoint: BtoA; export it with --graph BtoA" in out
    assert read_bundle(tmp_path / "horse2zebra").manifest.provenance.graph == "AtoB"
    code, out, err = outcome(capsys, two_graphs, "--graph", "BtoA", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["path"], told["graph"], told["other_graphs"]) == ("horse2zebra-BtoA", "BtoA", ["AtoB"])
    first, second = (read_bundle(tmp_path / name) for name in ("horse2zebra", "horse2zebra-BtoA"))
    assert (second.manifest.name, second.manifest.provenance.graph) == ("horse2zebra-BtoA", "BtoA")
    assert first.manifest.artifacts[0].sha256 != second.manifest.artifacts[0].sha256


def test_a_graph_that_is_not_in_the_checkpoint_is_one_sentence_with_the_names(
    two_graphs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = outcome(capsys, two_graphs, "--graph", "btoa", "-o", tmp_path / "out")
    assert code == 2
    assert "--graph btoa is not in" in err.splitlines()[-1]
    assert err.splitlines()[-1].endswith("which holds AtoB, BtoA. Did you mean BtoA?")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_checkpoint_with_one_graph_names_no_other(checkpoint: Path, tmp_path: Path) -> None:
    done = run_here("cgan-export", checkpoint, "--graph", "BtoA", "-o", tmp_path / "out")
    assert_one_sentence(done, 2, "--graph BtoA is not in", "which holds main")


def with_label(*names: str) -> Contract:
    label = Condition(name="label", shape=(), dtype="int64", encoding=LabelEncoding(names=names))
    return LabelGenerator().contract.model_copy(update={"conditions": (label,)})


@pytest.mark.parametrize(
    ("contract", "line"),
    [
        (pix2pix_generator(ngf=4).contract, "cgan-translate IMAGE --bundle out --seed 7"),
        (with_label("cat", "dog"), "cgan-generate --bundle out --label cat --samples 16"),
        (with_label("ankle boot"), "cgan-generate --bundle out --label 'ankle boot' --samples 16"),
        (with_label(), "cgan-generate --bundle out --label 0 --samples 16"),
        (Unconditional().contract, "cgan-generate --bundle out --samples 16"),
        (
            EveryKind().contract,
            "cgan-generate --bundle out --set content=IMAGE --set style=IMAGE --set label='class 0' "
            "--set code=out/golden/0-code.npy --samples 16",
        ),
    ],
)
def test_the_next_command_fits_the_contract(contract: Contract, line: str) -> None:
    assert run_command(contract, "out") == line
    first, *others = next_commands(contract, "my out")
    assert first == line.replace("--bundle out", "--bundle 'my out'").replace(
        "out/golden/0-code.npy", "'my out/golden/0-code.npy'"
    )
    assert [words.split()[0] for words in others] == ["cgan-serve", "cgan-bench", "cgan-export"]


def test_every_public_name_is_there_and_nothing_heavy_is_loaded_for_the_package() -> None:
    for name in cgan_export.__all__:
        assert getattr(cgan_export, name) is not None
        assert name in dir(cgan_export)
    assert set(cgan_export._MODULES) | {"__version__"} == set(cgan_export.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = cgan_export.nothing
    code = "import sys, cgan_export; print(sorted({'torch', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
