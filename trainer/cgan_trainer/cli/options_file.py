"""Options from a file: `--config runs/facades/config.json` asks for what that run was asked for."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.limits import printable

__all__ = ["with_options_file"]

# What config.json of a run says besides its options, and its threads, which belong to the machine it ran on.
_NO_OPTIONS = ("family", "total_images", "threads", "defaults", "grid", "best", "stopped")


def with_options_file(words: Sequence[str]) -> list[str]:
    """The words of a command with the options of its --config file added; an option given in words wins.

    Raises:
        BadInputError: the file cannot be read, or holds no options.
        UsageError: --config is given without a file.
    """
    given = list(words)
    for at, word in enumerate(given):
        if word == "--config":
            if at + 1 == len(given):
                raise UsageError("--config needs a file: a .json or .toml of options, such as a run's config.json.")
            return [*given[:at], *given[at + 2 :], *_added(_read(Path(given[at + 1])), given)]
        if word.startswith("--config="):
            return [*given[:at], *given[at + 1 :], *_added(_read(Path(word.partition("=")[2])), given)]
    return given


def _added(options: dict[str, Any], words: list[str]) -> list[str]:
    said = {word.partition("=")[0] for word in words}
    added: list[str] = []
    for key, value in options.items():
        name = key.replace("_", "-")
        if value is None or not said.isdisjoint((f"--{name}", f"--no-{name}")):
            continue
        if isinstance(value, bool):
            added.append(f"--{name}" if value else f"--no-{name}")
        else:
            added += [f"--{name}", str(value)]
    return added


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        options = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(
            f"--config {path} cannot be read ({printable(error)}): name a .json or .toml of options."
        ) from error
    if isinstance(options, dict):
        options = {name: value for name, value in options.items() if name not in _NO_OPTIONS}
        plain = all(value is None or isinstance(value, str | int | float) for value in options.values())
    if not isinstance(options, dict) or not plain:
        raise BadInputError(f"--config {path} holds no options: a name and a plain value each are needed.")
    return options
