"""A command that is shown to be copied asks for the same run."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from cgan_trainer.configs.base import RunOptions, command_line
from cgan_trainer.configs.pix2pix import Pix2pixConfig

RUN = RunOptions(data=Path("a folder"), out=Path("runs/1"))


def options_of(line: str) -> dict[str, str]:
    """Flag to value; a switch has none."""
    words = shlex.split(line)
    assert words[:2] == ["cgan-train", "pix2pix"]
    found: dict[str, str] = {}
    for word, following in zip(words[2:], [*words[3:], "--"], strict=True):
        if word.startswith("--"):
            found[word] = "" if following.startswith("--") else following
    return found


def test_what_differs_from_the_defaults_is_named_and_nothing_else() -> None:
    plain = {"--data": "a folder", "--out": "runs/1"}
    assert options_of(command_line(Pix2pixConfig(), RUN, resume=False)) == plain
    config = replace(Pix2pixConfig(), size=64, lr=1e-3, mirror=not Pix2pixConfig().mirror, torch_compile=True)
    run = replace(RUN, threads=1, evaluate=False, max_minutes=5, config=Path("x.json"), dry_run=True, resume=True)
    mirror = "--mirror" if config.mirror else "--no-mirror"
    changed = {"--size": "64", "--lr": "0.001", mirror: "", "--torch-compile": ""}
    of_the_run = {"--threads": "1", "--no-evaluate": "", "--max-minutes": "5"}
    assert options_of(command_line(config, run, resume=False)) == {**plain, **changed, **of_the_run}
    assert options_of(command_line(config, run, resume=True)) == {**plain, **changed, **of_the_run, "--resume": ""}
