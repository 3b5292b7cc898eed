"""Where samples are made: a bundle on this machine or a model on a server, under one name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cgan_runtime.bundle import read_bundle
from cgan_runtime.contract import Contract
from cgan_runtime.errors import UsageError
from cgan_runtime.generator import SeededModel

__all__ = ["Source", "open_source"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A generator, and what its files say of their origin: its name and its model digest."""

    model: SeededModel
    name: str
    digest: str

    @property
    def contract(self) -> Contract:
        """The signature of the generator."""
        return self.model.contract

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.model.close()


def open_source(
    *,
    bundle: Path | None,
    url: str | None,
    model: str | None,
    backend: str | None = None,
    precision: str | None = None,
    device: str | None = None,
    threads: int = 0,
    require_signature: Path | None = None,
) -> Source:
    """A bundle on this machine, or a model on a server.

    Args:
        bundle: folder of the bundle.
        url: address of the server, where there is no bundle.
        model: name of the served model.
        backend: which artifact of the bundle runs; likewise `precision`, `device` and `threads`.
        precision: see `Bundle.runner`.
        device: see `Bundle.runner`.
        threads: see `Bundle.runner`.
        require_signature: see `read_bundle`.

    Raises:
        UsageError: neither or both of bundle and url are named, or something that only the other one has.
        BundleError: the bundle cannot be used.
        CganError: the backend is not available here.
        ServerError: the server cannot be reached or has no such model.
    """
    if (bundle is None) == (url is None):
        raise UsageError("one of --bundle FOLDER and --url ADDRESS (with --model NAME) is needed.")
    chosen = {
        "--backend": backend,
        "--precision": precision,
        "--device": device,
        "--threads": threads or None,
        "--require-signature": require_signature,
    }
    if bundle is None and (needless := [name for name, value in chosen.items() if value is not None]):
        raise UsageError(f"{needless[0]} is for a bundle; a server has made this choice: leave it out.")
    if bundle is not None and model is not None:
        raise UsageError("--model names the generator of a server; with --bundle leave it out.")
    if bundle is not None:
        read = read_bundle(bundle, require_signature=require_signature)
        opened = read.generator(backend=backend, precision=precision, device=device, threads=threads)
        return Source(model=opened, name=read.manifest.name, digest=read.model_digest)
    if model is None:
        raise UsageError("--url needs --model NAME, the name the server gives the generator.")
    from cgan_runtime.triton_client import TritonClient, TritonGenerator

    served = TritonGenerator(TritonClient(url or ""), model)
    return Source(model=served, name=model, digest=served.digest)
