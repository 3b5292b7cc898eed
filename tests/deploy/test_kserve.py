"""The manifests of KServe. Its own kinds are no part of Kubernetes: what they hold of a pod is validated as one."""

from __future__ import annotations

import json

import yaml

from tests.deploy.manifests import DEPLOY, Manifest, require_understood, require_valid, values_of


def manifest(name: str) -> Manifest:
    return dict(yaml.safe_load((DEPLOY / "kserve" / name).read_text()))


RUNTIME = manifest("runtime.yaml")["spec"]
(CONTAINER,) = RUNTIME["containers"]


def test_the_pod_of_the_runtime_is_one_of_kubernetes() -> None:
    spec = {"containers": RUNTIME["containers"], "volumes": RUNTIME["volumes"]}
    require_valid({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "facades"}, "spec": spec})


def test_the_runtime_is_what_the_image_expects() -> None:
    (entry_point,) = values_of("Dockerfile", "ENTRYPOINT")
    said = require_understood(json.loads(entry_point), CONTAINER["args"])
    assert [str(path) for path in said["bundles"]] == ["/mnt/models"]  # where KServe puts what it copied
    assert [port["containerPort"] for port in CONTAINER["ports"]] == [said["http_port"]]
    assert {CONTAINER[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")} == {
        said["http_port"]
    }
    rights = CONTAINER["securityContext"]
    assert values_of("Dockerfile", "USER") == [f"{rights['runAsUser']}:{rights['runAsGroup']}"]
    assert rights["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"] for mount in CONTAINER["volumeMounts"]} == {"/tmp", "/state", "/dev/shm"}


def test_the_service_asks_for_the_runtime_and_waits_for_it() -> None:
    predictor = manifest("inferenceservice.yaml")["spec"]["predictor"]
    model = predictor["model"]
    assert model["runtime"] == manifest("runtime.yaml")["metadata"]["name"]
    (served,) = RUNTIME["supportedModelFormats"]
    assert (model["modelFormat"]["name"], model["modelFormat"]["version"]) == (served["name"], served["version"])
    assert model["protocolVersion"] in RUNTIME["protocolVersions"]
    said = require_understood(["cgan-serve"], CONTAINER["args"])
    stopping = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"] + said["drain_seconds"]
    assert predictor["terminationGracePeriodSeconds"] > stopping + 5
