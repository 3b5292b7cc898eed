"""The dashboard asks for figures that a server has."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import numpy as np
import pytest
from cgan_runtime.triton_client import TritonClient

from tests.gateway.gateway_process import GatewayProcess
from tests.helpers import REPOSITORY, png, smooth_images

DASHBOARD = json.loads((REPOSITORY / "deploy" / "grafana" / "cgan-deploy.json").read_text())
METRIC = re.compile(r"\b(?:cgan|nv)_[a-z_]+")


@pytest.fixture(scope="module")
def page(gateway: GatewayProcess) -> str:
    """The metrics after one answer and one refusal."""
    client = TritonClient(f"grpc://{gateway.grpc_url}")
    image = np.array([[png(smooth_images(1, seed=5)[0])]], dtype=object)
    client.infer("facades_png", {"image": image, "seed": np.array([[7]], dtype=np.uint64)}, ["seed"])
    client.close()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{gateway.http_url}/v2/models/facades/infer", data=b"{}", timeout=30)
    refused.value.close()
    with urllib.request.urlopen(gateway.metrics_url, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: str(panel["title"]))
def test_every_figure_of_the_dashboard_is_on_the_page(panel: dict[str, list[dict[str, str]]], page: str) -> None:
    for target in panel["targets"]:
        names = set(METRIC.findall(target["expr"]))
        assert names
        for name in names:
            line = next((line for line in page.splitlines() if re.match(rf"{name}[ {{]", line)), None)
            assert line is not None, name
            labels = set(re.findall(r"([a-z]+)=", line))
            wanted = set(re.findall(r"{{([a-z]+)}}", target["legendFormat"]))
            assert wanted <= labels, (name, labels)


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert all(x < 24 for x, _ in cells)
        taken |= cells
