"""Manifests as the tests read them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from cgan_runtime.cli import serve

from tests.helpers import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
CHART = DEPLOY / "helm" / "cgan-deploy"
VERSIONS = ("1.30.0", "1.37.0")  # the oldest that the chart takes, and the newest whose schemas are known
# Kinds that Kubernetes itself does not have.
FOREIGN = {"ServiceMonitor", "ServingRuntime", "InferenceService"}
Manifest = dict[str, Any]


def render(helm: Path, folder: Path, **values: Any) -> dict[str, Manifest]:
    """The manifests of the chart by their kinds; `values` are given beside the chart's own."""
    given = folder / "given.yaml"
    given.write_text(yaml.safe_dump(values))
    done = run_helm(helm, "template", "web", str(CHART), "--values", str(given), "--namespace", "shop")
    assert done.returncode == 0, done.stderr
    manifests = [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]
    assert len({manifest["kind"] for manifest in manifests}) == len(manifests)
    return {manifest["kind"]: manifest for manifest in manifests}


def run_helm(helm: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *words], capture_output=True, text=True, check=False, timeout=60)


def require_valid(manifest: Manifest) -> None:
    """Every field is one of Kubernetes, and what it should be."""
    for version in VERSIONS:
        kubernetes_validate.validate(manifest, version, strict=True)


def require_understood(entry_point: list[str], words: list[str]) -> dict[str, Any]:
    """What cgan-serve makes of a command line; it fails where the command would end with a usage error."""
    assert entry_point[0] == "cgan-serve"
    _, bound, _ = serve.command.parse_args([*entry_point[1:], *words], print_error=False, exit_on_error=False)
    bound.apply_defaults()
    return dict(bound.arguments)


def instructions(name: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile in order, each in one line; those of heredocs are not understood."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "docker" / name).read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def values_of(name: str, instruction: str) -> list[str]:
    return [rest for word, rest in instructions(name) if word == instruction]
