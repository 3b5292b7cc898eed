"""Versions: bundles that are served one after the other under one name, each with models of its own in Triton."""

from __future__ import annotations

import shutil
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from cgan_runtime.bundle import Bundle
from cgan_runtime.errors import UsageError
from cgan_runtime.gateway.settings import Route
from cgan_runtime.serving.core import Core, RepositoryOptions, embedded_core
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.repository import model_names, write_models
from cgan_runtime.serving.signature import ModelKind

__all__ = ["Catalogue", "Release", "release_of"]

KINDS: Final[tuple[ModelKind, ...]] = ("core", "tensor", "png")  # in the order of `model_names`


@dataclass(frozen=True, kw_only=True, eq=False)
class Release:
    """One version of what is served under a name.

    Attributes:
        bundle: that was checked when it was read, and is checked again as its files are copied.
        version: 1 for the bundle that the server was started with, then 2, 3, ...
        core: how its engine runs.
    """

    bundle: Bundle
    version: int
    core: Core

    @property
    def name(self) -> str:
        """By which clients call it."""
        return self.bundle.manifest.name

    @property
    def models(self) -> tuple[str, ...]:
        """Names inside Triton, the engine first. A bundle's name has no dot, so no other bundle has them."""
        public = model_names(self.bundle)
        if self.version == 1:
            return public
        return tuple(f"{self.name}.{self.version}{model.removeprefix(self.name)}" for model in public)

    def write(self, root: Path) -> None:
        """Write its models to the repository folder, or write again what changed there.

        Raises:
            BundleError: the artifact is not there as it was read, neither in the folder nor in the bundle.
        """
        write_models(root, self.bundle, self.core, self.models)

    def remove(self, root: Path) -> None:
        """Remove its models from the repository folder."""
        for model in self.models:
            shutil.rmtree(root / model, ignore_errors=True)

    def route(self, environment: ServerEnvironment) -> Route:
        """What the gateway is told of it."""
        settings, manifest = self.core.settings, self.bundle.manifest
        (artifact,) = self.core.files.values()
        return Route(
            name=self.name,
            version=self.version,
            contract=manifest.contract,
            model_digest=self.bundle.model_digest,
            bundle_digest=self.bundle.digest,
            artifact=f"{artifact.backend}/{artifact.precision}",
            runtime=environment.describe(settings["backend"]),
            max_batch=self.core.max_batch,
            models=dict(zip(KINDS, self.models, strict=False)),
        )


def release_of(bundle: Bundle, version: int, options: RepositoryOptions) -> Release:
    """The bundle as one version.

    Raises:
        BundleError: it has no artifact of the backend and precision that are served, or one that is not trusted.
        CganError: this release has no runner for the backend.
    """
    return Release(bundle=bundle, version=version, core=embedded_core(bundle, options))


@final
class Catalogue:
    """What is served, what may still be asked for, and what can be returned to.

    Attributes:
        loaded: releases in Triton: those that are served, and older ones until no accepted request needs them.
        pinned: the one that is to be served next, if one is.
    """

    def __init__(self, releases: Sequence[Release]) -> None:
        self.loaded = list(releases)
        self.pinned: Release | None = None
        self._served = {release.name: release for release in releases}
        self._previous: dict[str, Release] = {}
        self._newest = {release.name: release.version for release in releases}

    @property
    def served(self) -> tuple[Release, ...]:
        """One of each name."""
        return tuple(self._served.values())

    def current(self, name: str) -> Release:
        """What is served under a name.

        Raises:
            UsageError: nothing is; the message lists what there is.
        """
        if name not in self._served:
            raise UsageError(f"no bundle {name} is served here, only: {', '.join(self._served)}.")
        return self._served[name]

    def previous(self, name: str) -> Release:
        """What was served under a name before.

        Raises:
            UsageError: nothing is served under it, or nothing was before.
        """
        current = self.current(name)
        if name not in self._previous:
            raise UsageError(f"there is nothing to go back to: {name} is still its version {current.version}.")
        return self._previous[name]

    def new_version(self, name: str) -> int:
        """A number that no release of this name had."""
        self._newest[name] += 1
        return self._newest[name]

    def serve(self, release: Release) -> Release | None:
        """Serve a release that is loaded in the place of the one of its name; returns the one that is forgotten."""
        forgotten = self._previous.get(release.name)
        self._previous[release.name] = self._served[release.name]
        self._served[release.name] = release
        if release not in self.loaded:
            self.loaded.append(release)
        return forgotten

    def retire(self, models: Set[str] | None = None) -> list[Release]:
        """Take loaded releases that are not served off the list: those with one of these models, or all of them."""
        served = {*self._served.values(), self.pinned}
        retired = [r for r in self.loaded if r not in served and (models is None or models & set(r.models))]
        self.loaded = [r for r in self.loaded if r not in retired]
        return retired

    def keeps(self, release: Release) -> bool:
        """Whether its files are still needed."""
        return release in self.loaded or release in self._previous.values()
