"""Put another version of a bundle behind the same name while the server runs, and take it back.

What is hashed is what is loaded: the bundle's files are hashed as the supervisor copies them, and the engine's once
more as the model opens it. The version that serves goes on until the new one has given what its bundle promises.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

from cgan_runtime.bundle import read_bundle
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.serving.triton_process import TritonProcess
from cgan_runtime.supervision.golden_check import check_golden
from cgan_runtime.supervision.releases import Release, release_of
from cgan_runtime.supervision.supervisor import Supervisor

__all__ = ["Publisher"]

ROUTE_SECONDS: Final = 30.0


@final
class Publisher:
    """What changes the releases of a server that runs; one change at a time.

    Args:
        server: that runs.
        require_signature: a public key; only bundles signed with its private key are published.
    """

    def __init__(self, server: Supervisor, *, require_signature: Path | None = None) -> None:
        self._server, self._require_signature = server, require_signature
        self._busy = threading.Lock()

    def publish(self, path: Path, *, allow_new_contract: bool = False) -> str:
        """Serve a bundle in the place of the one of its name; returns a sentence that says so.

        Raises:
            BundleError: it is damaged, or lacks what is served of the others.
            UsageError: no bundle of this name is served, or its contract is another one and that is not allowed.
            CheckFailedError: its model does not give what the bundle promises.
            CganError: it cannot be loaded, or another change is under way.
        """
        server = self._server
        bundle = read_bundle(path, require_signature=self._require_signature)
        name = bundle.manifest.name
        with self._one_at_a_time():
            with server.lock:
                current = server.catalogue.current(name)
                if current.bundle.digest == bundle.digest:
                    return f"{name} version {current.version} is this bundle already; nothing was changed."
                if current.bundle.manifest.contract != bundle.manifest.contract and not allow_new_contract:
                    raise UsageError(
                        f"{path} has another contract than {name} version {current.version}, so clients would have "
                        "to change; give --allow-new-contract if they do."
                    )
                version = server.catalogue.new_version(name)
            self._switch(release_of(bundle, version, server.repository_options))
        return self._said(f"{name} version {version} is served, from {path}", bundle.model_digest)

    def rollback(self, name: str) -> str:
        """Serve what was served under a name before; returns a sentence that says so.

        Raises:
            UsageError: there is nothing to go back to.
            CheckFailedError, CganError: as `publish`.
        """
        with self._one_at_a_time():
            with self._server.lock:
                release = self._server.catalogue.previous(name)
            self._switch(release)
        return self._said(f"{name} version {release.version} is served again", release.bundle.model_digest)

    def _said(self, what: str, digest: str) -> str:
        sentence = f"{what} (model {digest[:12]})."
        self._server.tell_user(sentence)
        return sentence

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise CganError("another version is being published here; try again when that is done.")
        try:
            yield
        finally:
            self._server.catalogue.pinned = None
            self._busy.release()

    def _switch(self, release: Release) -> None:
        """Load it, try it, and send every new request there."""
        server = self._server
        with server.lock:
            triton = server.engine.process if server.engine.ready else None
            server.catalogue.pinned = release  # an older one may be about to be unloaded
            was_loaded = release in server.catalogue.loaded
        if triton is None:
            raise CganError("Triton is being started again; try again in a few seconds.")
        try:
            if not was_loaded:
                release.write(server.repository)
                for model in release.models:
                    triton.load(model)
            (artifact,) = release.core.files.values()
            check_golden(triton.grpc_url, release.models[1], release.bundle, artifact)
            with server.lock:
                if server.engine.process is not triton or triton.trouble() is not None:
                    raise CganError("Triton was started again meanwhile; try again.")
                forgotten = server.catalogue.serve(release)
                if forgotten is not None and not server.catalogue.keeps(forgotten):
                    forgotten.remove(server.repository)
                triton.watch([name for loaded in server.catalogue.loaded for name in loaded.models])
                told = server.send_routes()
        except BaseException:
            if not was_loaded:
                self._take_back(triton, release)
            raise
        if told is not None:
            gateway, number = told
            gateway.wait_done(number, ROUTE_SECONDS)  # a gateway that ends meanwhile is followed by one that knows

    def _take_back(self, triton: TritonProcess, release: Release) -> None:
        for model in reversed(release.models):
            triton.unload(model)
        with self._server.lock:
            if not self._server.catalogue.keeps(release):
                release.remove(self._server.repository)
