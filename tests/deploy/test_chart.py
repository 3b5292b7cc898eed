"""The chart, as Helm renders it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from cgan_runtime.gateway.settings import Limits

from tests.deploy.manifests import (
    CHART,
    DEPLOY,
    FOREIGN,
    Manifest,
    render,
    require_understood,
    require_valid,
    run_helm,
    values_of,
)
from tests.helpers import REPOSITORY

EVERYTHING: dict[str, Any] = {
    "models": {
        "bundles": ["facades", "maps"],
        "s3": {"uri": "s3://bundles/a", "endpoint": "https://s3", "secret": "k"},
    },
    "server": {"apiKeysSecret": "keys", "tlsSecret": "tls", "extraArgs": ["--max-body=128"]},
    "autoscaling": {"enabled": True},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"enabled": True, "metrics": [{"namespaceSelector": {}}]},
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccount": "reader",
    "podLabels": {"team": "a"},
    "podAnnotations": {"a/b": "c"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
}


@pytest.fixture(scope="module", params=[{}, EVERYTHING], ids=["defaults", "everything"])
def rendered(
    request: pytest.FixtureRequest, helm: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Manifest]:
    return render(helm, tmp_path_factory.mktemp("values"), **request.param)


def pod_of(manifests: dict[str, Manifest]) -> Manifest:
    return dict(manifests["Deployment"]["spec"]["template"]["spec"])


def server_of(manifests: dict[str, Manifest]) -> Manifest:
    return dict(pod_of(manifests)["containers"][0])


def test_helm_finds_nothing_wrong(helm: Path) -> None:
    done = run_helm(helm, "lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


def test_every_manifest_is_one_of_kubernetes(rendered: dict[str, Manifest]) -> None:
    assert {"Deployment", "Service", "PodDisruptionBudget"} <= set(rendered)
    for kind, manifest in rendered.items():
        if kind not in FOREIGN:
            require_valid(manifest)


def test_nothing_in_a_pod_may_do_more_than_run(rendered: dict[str, Manifest]) -> None:
    pod = pod_of(rendered)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_pod_is_what_the_image_expects(rendered: dict[str, Manifest]) -> None:
    pod, server = pod_of(rendered), server_of(rendered)
    user, group = (pod["securityContext"][name] for name in ("runAsUser", "runAsGroup"))
    assert values_of("Dockerfile", "USER") == [f"{user}:{group}"]
    ports = [port["containerPort"] for port in server["ports"]]
    assert values_of("Dockerfile", "EXPOSE") == [" ".join(map(str, ports))]
    writable = {mount["mountPath"] for mount in server["volumeMounts"] if not mount.get("readOnly")}
    (environment,) = values_of("Dockerfile", "ENV")[1:]
    folders = dict(word.split("=", 1) for word in environment.split())
    assert writable == {folders["TMPDIR"], folders["XDG_STATE_HOME"], "/dev/shm"}


def test_every_mount_has_its_volume(rendered: dict[str, Manifest]) -> None:
    pod = pod_of(rendered)
    mounted = {m["name"] for c in (*pod["containers"], *pod.get("initContainers", ())) for m in c["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_command_line_is_understood(rendered: dict[str, Manifest]) -> None:
    (entry_point,) = values_of("Dockerfile", "ENTRYPOINT")
    said = require_understood(json.loads(entry_point), server_of(rendered)["args"])
    assert [path.parent for path in said["bundles"]] == [Path("/models")] * len(said["bundles"]) != []
    assert said["threads"] > 0  # 0 would take every core of the node
    mounts = [mount["mountPath"] for mount in server_of(rendered)["volumeMounts"]]
    for option in ("api_keys", "tls_cert", "tls_key"):
        if said[option] is not None:
            assert str(said[option].parent) in mounts


def test_a_pod_has_time_to_answer_what_it_accepted(rendered: dict[str, Manifest]) -> None:
    server = server_of(rendered)
    said = require_understood(["cgan-serve"], server["args"])
    assert said["drain_seconds"] >= said["deadline"]
    stopping = server["lifecycle"]["preStop"]["sleep"]["seconds"] + said["drain_seconds"]
    assert pod_of(rendered)["terminationGracePeriodSeconds"] > stopping + 5  # so long the gateway may take to close


def test_everything_selects_the_pods(rendered: dict[str, Manifest]) -> None:
    labels = rendered["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        rendered["Service"]["spec"]["selector"],
        rendered["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        rendered["Deployment"]["spec"]["selector"]["matchLabels"],
        *([rendered["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]] if "NetworkPolicy" in rendered else []),
    ]
    assert selectors[0].items() <= labels
    assert all(selector == selectors[0] for selector in selectors)  # none of them names what changes with a release
    names = {port["name"] for port in server_of(rendered)["ports"]}
    assert {port["targetPort"] for port in rendered["Service"]["spec"]["ports"]} == names
    if "ServiceMonitor" in rendered:
        wanted = rendered["ServiceMonitor"]["spec"]
        assert wanted["selector"]["matchLabels"].items() <= rendered["Service"]["metadata"]["labels"].items()
        assert wanted["endpoints"][0]["port"] == "metrics"


def test_with_tls_it_is_asked_so(helm: Path, tmp_path: Path) -> None:
    server = server_of(render(helm, tmp_path, server={"tlsSecret": "tls"}))
    assert {server[f"{kind}Probe"]["httpGet"].get("scheme") for kind in ("startup", "readiness", "liveness")} == {
        "HTTPS"
    }


def test_bundles_from_s3_are_written_by_the_copy_alone(helm: Path, tmp_path: Path) -> None:
    pod = pod_of(render(helm, tmp_path, models={"s3": {"uri": "s3://bundles/a"}}))
    (copy,) = pod["initContainers"]
    assert copy["args"][:2] == ["s3", "sync"]
    assert copy["args"][-2:] == ["s3://bundles/a", "/models"]
    assert "--delete" in copy["args"]  # a file too many makes a bundle unusable
    mounts = [m for c in (copy, *pod["containers"]) for m in c["volumeMounts"] if m["mountPath"] == "/models"]
    assert [mount.get("readOnly", False) for mount in mounts] == [False, True]


def test_it_scales_by_the_metric_of_the_adapter(helm: Path, tmp_path: Path) -> None:
    manifests = render(helm, tmp_path, autoscaling={"enabled": True})
    assert "replicas" not in manifests["Deployment"]["spec"]  # each `helm upgrade` would set it back
    scaler = manifests["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == manifests["Deployment"]["metadata"]["name"]
    (metric,) = [metric["pods"]["metric"]["name"] for metric in scaler["metrics"] if metric["type"] == "Pods"]
    (rule,) = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yaml").read_text())["rules"]["custom"]
    assert rule["name"]["as"] == metric


def test_only_those_who_are_named_may_connect(helm: Path, tmp_path: Path) -> None:
    peers = [{"podSelector": {"matchLabels": {"app": "shop"}}}]
    policy = render(helm, tmp_path, networkPolicy={"enabled": True, "clients": peers})["NetworkPolicy"]["spec"]
    assert policy["ingress"] == [{"from": peers, "ports": [{"port": "http"}, {"port": "grpc"}]}]
    assert "Egress" in policy["policyTypes"]
    assert "egress" not in policy


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"server": {"threads": 0}}, "minimum"),
        ({"replica": 3}, "replica"),
        ({"models": {"bundles": []}}, "minItems"),
        ({"models": {"s3": {"uri": "https://bucket"}}}, "does not match"),
        ({"autoscaling": {"enabled": True, "cpuPercent": 0, "queueSeconds": ""}}, "autoscaling needs a figure"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(
    values: dict[str, Any], words: str, helm: Path, tmp_path: Path
) -> None:
    given = tmp_path / "given.yaml"
    given.write_text(yaml.safe_dump(values))
    done = run_helm(helm, "template", "web", str(CHART), "--values", str(given))
    assert done.returncode != 0
    assert words in done.stderr


README = (DEPLOY / "README.md").read_text().replace("\\\n", " ")
COMMANDS = re.findall(r"^    helm (?:install|upgrade) (.*)", README, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_are_understood(command: str, helm: Path) -> None:
    name, chart, *options = shlex.split(command.replace("--reuse-values", ""))
    assert CHART.samefile(REPOSITORY / chart)
    done = run_helm(helm, "template", name, str(CHART), *options)
    assert done.returncode == 0, done.stderr


def test_limits_are_those_of_the_server() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())["server"]
    assert (values["deadlineSeconds"], values["maxWaiting"]) == (Limits().seconds, Limits().waiting)
