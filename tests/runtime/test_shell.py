"""What every command does before its own work."""

from __future__ import annotations

import os

import pytest
from cgan_runtime.cli.shell import app, run


@pytest.mark.parametrize(("own", "seen"), [(None, "1000"), ("7", "7")])
def test_threads_that_wait_do_not_spin_for_long_unless_the_user_says_so(
    own: str | None, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set before the command imports torch, which reads it once; the commands' --help imports no torch at all."""
    monkeypatch.setenv("GOMP_SPINCOUNT", own or "")
    if own is None:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    command, found = app("x"), []

    @command.default
    def look() -> None:
        found.append(os.environ["GOMP_SPINCOUNT"])

    with pytest.raises(SystemExit) as ended:
        run(command, [])
    assert not ended.value.code
    assert found == [seen]
