"""The gateway keeps the whole protocol, where Triton's own HTTP does not."""

from __future__ import annotations

import json

import pytest
from cgan_runtime.conformance.__main__ import main

from tests.gateway.gateway_process import GatewayProcess


def test_every_check_is_ok(gateway: GatewayProcess, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([gateway.http_url, "--grpc", gateway.grpc_url, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [check for check in found["checks"] if check["state"] != "ok"] == []
    assert ended.value.code == 0
