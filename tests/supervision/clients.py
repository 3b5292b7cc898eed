"""Clients that ask without a pause while something is done to the server."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from cgan_runtime.bundle import read_bundle
from cgan_runtime.errors import CganError
from cgan_runtime.gateway.settings import GatewaySettings
from cgan_runtime.triton_client import TritonClient

from tests.helpers import free_ports

CONDITION = np.linspace(-1, 1, 3 * 64 * 64, dtype=np.float32).reshape(1, 3, 64, 64)


def settings_of_a_test(drain_seconds: float = 2) -> GatewaySettings:
    ports = free_ports()
    return GatewaySettings(
        host="127.0.0.1",
        http_port=ports.http,
        grpc_port=ports.grpc,
        metrics_port=ports.metrics,
        drain_seconds=drain_seconds,
    )


def picture_of(path: Path) -> bytes:
    """What the clients have to get, by ONNX Runtime in this process."""
    generator = read_bundle(path).generator()
    try:
        return generator.generate({"condition": CONDITION}, [7], [0])["picture"].tobytes()
    finally:
        generator.close()


def ask_once(grpc_url: str, model: str = "facades", *, seed: int = 7) -> bytes:
    """The picture of one request, as bytes."""
    client = TritonClient(f"grpc://{grpc_url}")
    try:
        return _ask(client, model, seed)
    finally:
        client.close()


def ask_until(grpc_url: str, seconds: float) -> tuple[bytes, float]:
    """The first picture, and how many seconds it took to get it."""
    began = time.monotonic()
    while True:
        try:
            return ask_once(grpc_url), time.monotonic() - began
        except CganError:
            assert time.monotonic() - began < seconds, "nothing was served in time"
            time.sleep(0.05)


class Clients:
    """Some of them, as a context manager.

    Attributes:
        answers: each picture -> how often it came.
        failures: what was said instead.
    """

    def __init__(self, grpc_url: str, count: int = 2) -> None:
        self.answers: dict[bytes, int] = {}
        self.failures: list[str] = []
        self._url = grpc_url
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        with self._lock:
            return sum(self.answers.values())

    def wait_for(self, more: int, seconds: float = 30) -> None:
        """Until so many more answers have come."""
        wanted, deadline = self.count + more, time.monotonic() + seconds
        while self.count < wanted:
            assert time.monotonic() < deadline, self.failures[-3:]
            time.sleep(0.02)

    def _work(self) -> None:
        client = TritonClient(f"grpc://{self._url}")
        while not self._ended.is_set():
            try:
                answer = _ask(client, "facades", 7)
                with self._lock:
                    self.answers[answer] = self.answers.get(answer, 0) + 1
            except CganError as error:
                with self._lock:
                    self.failures.append(str(error))
                time.sleep(0.05)
        client.close()


def _ask(client: TritonClient, model: str, seed: int) -> bytes:
    inputs: dict[str, Any] = {"condition": CONDITION, "seed": np.array([[seed]], dtype=np.uint64)}
    return client.infer(model, inputs, ["picture"])["picture"].tobytes()
