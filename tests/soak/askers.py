"""Clients that ask small requests without a pause, over both protocols, and know every answer of every version."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cgan_bench.load.clients import Client, FailedError, RefusedError, Reply, client_of
from cgan_bench.load.requests import Request
from cgan_runtime.bundle import read_bundle
from cgan_runtime.contract import ImageEncoding
from cgan_runtime.images import pixels_from_tensor
from cgan_runtime.serving.ports import Ports
from PIL import Image
from tritonclient.grpc import service_pb2 as pb

__all__ = ["Askers"]

CLASSES: Final = 3
SEEDS: Final = tuple(2**64 - 1 - 2**61 * n for n in range(CLASSES))  # a class and a seed for each request
PAUSE_SECONDS: Final = 0.05
Pixels = npt.NDArray[np.uint8]


class _Known:
    """The answers of one version, by ONNX Runtime in this process."""

    def __init__(self, path: Path) -> None:
        bundle = read_bundle(path)
        (output,) = bundle.manifest.contract.outputs
        assert isinstance(output.encoding, ImageEncoding)
        self.digest = bundle.model_digest
        generator = bundle.generator()
        labels = {"label": np.arange(CLASSES, dtype=np.int64)}
        try:
            images = generator.generate(labels, SEEDS, [0] * CLASSES)["picture"]
        finally:
            generator.close()
        self.tensors = [image.tobytes() for image in images]
        self.pixels = [pixels_from_tensor(image, output.encoding) for image in images]


class Askers:
    """So many clients over each of: gRPC and HTTP, tensors and files.

    Attributes:
        asked: requests that ended.
        failures: of requests that were not answered, and of answers that were not right.
        wrong: how many of those were answered.
        version: the least version that an answer to a new request may name.
    """

    def __init__(self, ports: Ports, name: str, versions: tuple[Path, ...], each: int = 1) -> None:
        self.asked, self.wrong, self.version = 0, 0, 1
        self.failures: list[str] = []
        known = [_Known(path) for path in versions]
        self._known = {one.digest: one for one in known}
        assert len(self._known) == len(versions)
        self._right: set[tuple[str, bool, int, bytes]] = set()
        urls = (f"grpc://127.0.0.1:{ports.grpc}", f"http://127.0.0.1:{ports.http}")
        self._ways = [(url, f"{name}{suffix}") for url in urls for suffix in ("", "_png") for _ in range(each)]
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[Future[None]]:
        """Ask in a thread of its own during the block."""
        ended: Future[None] = Future()

        def work() -> None:
            try:
                ended.set_result(asyncio.run(self._work()))
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that asks
                ended.set_exception(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield ended
        finally:
            self._ended.set()
            thread.join()
        ended.result()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            for url, model in self._ways:
                group.create_task(self._client(client_of(url, model), png=model.endswith("_png")))

    async def _client(self, client: Client, *, png: bool) -> None:
        requests = [client.request(_inputs(number, png=png)) for number in range(CLASSES)]
        number = 0
        while not self._ended.is_set():
            number = (number + 1) % CLASSES
            await self._ask(client, requests[number], number, png=png)
        await client.close()

    async def _ask(self, client: Client, request: Request, number: int, *, png: bool) -> None:
        least = self.version
        try:
            reply = await client.call(request)
        except (FailedError, RefusedError) as error:
            self.failures.append(f"{type(error).__name__} {error}"[:300])
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            if (fault := self._fault(client, reply, number, least, png=png)) is not None:
                self.wrong += 1
                self.failures.append(f"{'png' if png else 'tensors'}, request {number}: {fault}")
        self.asked += 1

    def _fault(self, client: Client, reply: Reply, number: int, least: int, *, png: bool) -> str | None:
        """What is wrong with an answer: it is not that of the version that it names, or an older one."""
        digest, version = _origin(reply)
        if version < least:
            return f"version {version} answered, after version {least} was served"
        outputs = client.outputs(reply)
        picture, seed = outputs["picture"][2], outputs["seed"][2]
        if seed != SEEDS[number].to_bytes(8, "little"):
            return f"the seed came back as {seed!r}"
        if (digest, png, number, picture) in self._right:
            return None
        if (known := self._known.get(digest)) is None:
            return f"no version has the digest {digest}"
        right = np.array_equal(_pixels(picture), known.pixels[number]) if png else picture == known.tensors[number]
        if not right:
            return f"not the image of version {version}"
        self._right.add((digest, png, number, picture))
        return None


def _inputs(number: int, *, png: bool) -> dict[str, npt.NDArray[Any]]:
    label = np.array([[str(number).encode()]], dtype=object) if png else np.array([[number]], dtype=np.int64)
    return {"label": label, "seed": np.array([[SEEDS[number]]], dtype=np.uint64)}


def _origin(reply: Reply) -> tuple[str, int]:
    """Digest and version that an answer names."""
    if reply.json_bytes:
        head: Mapping[str, Any] = json.loads(reply.body[: reply.json_bytes])
        return head["parameters"]["model_digest"], int(head["model_version"])
    message = pb.ModelInferResponse.FromString(reply.body)
    return message.parameters["model_digest"].string_param, int(message.model_version)


def _pixels(raw: bytes) -> Pixels:
    """Of a BYTES tensor of one PNG file."""
    return np.asarray(Image.open(io.BytesIO(raw[4:])))
