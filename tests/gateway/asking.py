"""How the tests ask a gateway."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

import numpy as np

from tests.helpers import png, smooth_images

IMAGE = png(smooth_images(1, seed=5)[0])


def get(url: str, context: ssl.SSLContext | None = None, **headers: str) -> tuple[int, bytes]:
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def png_inputs(library: Any, seed: int = 7) -> list[Any]:
    image = library.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[IMAGE]], dtype=object))
    number = library.InferInput("seed", [1, 1], "UINT64")
    number.set_data_from_numpy(np.array([[seed]], dtype=np.uint64))
    return [image, number]


def wait_until(true: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        return get(url)[0] == 200
    except (urllib.error.URLError, ConnectionError, http.client.HTTPException):
        return False
