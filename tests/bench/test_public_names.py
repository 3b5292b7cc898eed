from __future__ import annotations

import subprocess
import sys

import cgan_bench
import pytest


def test_every_public_name_is_there_and_listed() -> None:
    assert len(set(cgan_bench.__all__)) == len(cgan_bench.__all__)
    assert set(cgan_bench.__all__) == set(cgan_bench.HOMES)
    for name in cgan_bench.__all__:
        value = getattr(cgan_bench, name)
        home = getattr(value, "__module__", None)
        assert home is None or home.split(".")[0] in ("cgan_bench", "typing"), f"{name} is of {home}"
        assert name in dir(cgan_bench)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'measur'"):
        _ = cgan_bench.measur


def test_importing_the_package_imports_nothing_of_others() -> None:
    code = "import sys, cgan_bench; print([m for m in ('numpy', 'pydantic', 'cgan_runtime') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
