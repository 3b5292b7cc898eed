"""What perf_analyzer is given and what it writes, in the form that its own documentation describes."""

from __future__ import annotations

import base64
import sys

import numpy as np
import pytest
from cgan_bench.load.perf_analyzer import input_data, main, read_figures
from cgan_runtime.errors import CganError, UsageError

# As perf_analyzer 2.51 wrote it.
REPORT = """Concurrency,Inferences/Second,Client Send,p50 latency,p90 latency,p95 latency,p99 latency
4,478.302,12,7801,9000,9500,12000
"""


def test_a_file_has_its_length_in_front_and_a_tensor_has_not() -> None:
    request = {"image": np.array([[b"PNG!"]], dtype=object), "seed": np.array([[7]], dtype=np.uint64)}
    (found,) = input_data([request])["data"]
    image, seed = found["image"], found["seed"]
    assert image == {"content": {"b64": base64.b64encode(b"\x04\x00\x00\x00PNG!").decode()}, "shape": [1]}
    assert seed == {"content": {"b64": base64.b64encode(b"\x07" + bytes(7)).decode()}, "shape": [1]}


def test_the_report_is_read_in_images_a_second_and_milliseconds() -> None:
    assert read_figures(REPORT) == (478.302, 7.801)
    with pytest.raises(CganError, match="no measurement"):
        read_figures(REPORT.splitlines()[0])


@pytest.mark.parametrize("url", ["grpcs://127.0.0.1:9", "http://127.0.0.1:9"])
def test_an_address_that_would_be_handed_on_without_its_scheme_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["compare", "perf_analyzer", url, "m"])
    with pytest.raises(UsageError, match=f"{url} is not a server address here; give grpc://HOST:PORT"):
        main()
