"""What the manifests ask of a server, a real one has."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import numpy as np
import yaml
from cgan_runtime.triton_client import TritonClient

from tests.deploy.manifests import DEPLOY, render
from tests.gateway.gateway_process import GatewayProcess
from tests.helpers import png, smooth_images


def test_every_probe_is_answered(gateway: GatewayProcess, helm: Path, tmp_path: Path) -> None:
    (server,) = render(helm, tmp_path)["Deployment"]["spec"]["template"]["spec"]["containers"]
    (runtime,) = yaml.safe_load((DEPLOY / "kserve" / "runtime.yaml").read_text())["spec"]["containers"]
    for container in (server, runtime):
        for kind in ("startup", "readiness", "liveness"):
            probe = container[f"{kind}Probe"]
            with urllib.request.urlopen(f"{gateway.http_url}{probe['httpGet']['path']}", timeout=30) as answer:
                assert answer.status == 200
            assert probe["timeoutSeconds"] > 2  # so long the gateway waits for a model
        assert container["readinessProbe"]["httpGet"]["path"].endswith("/ready")


def test_the_metric_of_the_autoscaler_follows_from_the_page(gateway: GatewayProcess) -> None:
    client = TritonClient(f"grpc://{gateway.grpc_url}")
    image = np.array([[png(smooth_images(1, seed=5)[0])]], dtype=object)
    client.infer("facades_png", {"image": image, "seed": np.array([[7]], dtype=np.uint64)}, ["seed"])
    client.close()
    with urllib.request.urlopen(gateway.metrics_url, timeout=30) as answer:
        page = answer.read().decode()
    (rule,) = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yaml").read_text())["rules"]["custom"]
    names = set(re.findall(r"\bcgan_\w+", f"{rule['seriesQuery']} {rule['metricsQuery']}"))
    assert names == {"cgan_queue_seconds_sum", "cgan_queue_seconds_count"}
    for name in names:
        assert re.search(rf"^{name}{{", page, re.MULTILINE), name
