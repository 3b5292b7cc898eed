"""The gate keeps the whole protocol, where Triton's own HTTP does not."""

from __future__ import annotations

import json

import pytest
from cgan_runtime.conformance.__main__ import main

from tests.gate.gate_process import GateProcess


def test_every_check_is_ok(gate: GateProcess, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([gate.http_url, "--grpc", gate.grpc_url, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [check for check in found["checks"] if check["state"] != "ok"] == []
    assert ended.value.code == 0
