"""Whether there are traces, and where they go: the standard variables of OpenTelemetry."""

from __future__ import annotations

from pathlib import Path

import pytest
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.serving import traces
from cgan_runtime.serving.traces import traces_wanted, triton_trace_options

from tests.helpers import assert_one_sentence, run_here


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "shop", "OTEL_EXPORTER_OTLP_ENDPOINT": " "}, None),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318/"}, "http://a:4318/v1/traces"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://b/x"},
            "https://b/x",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "TRUE"}, None),
    ],
)
def test_the_standard_variables_decide(variables: dict[str, str], url: str | None) -> None:
    wanted = traces_wanted(variables)
    assert (None if wanted is None else wanted.url) == url


def test_the_service_has_the_name_that_it_was_given() -> None:
    there = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_RESOURCE_ATTRIBUTES": "team=a,service.name=shop"}
    wanted = traces_wanted(there)
    assert wanted is not None
    assert wanted.service == "shop"
    assert "opentelemetry,resource=service.name=shop-triton" in triton_trace_options(wanted)
    named = traces_wanted({**there, "OTEL_SERVICE_NAME": "other"})
    assert named is not None
    assert named.service == "other"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "it can be otlp"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "'grpc', and traces are sent by http/",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "as http://HOST:PORT"),
    ],
)
def test_what_cannot_be_done_is_said(variables: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        traces_wanted(variables)


def test_without_the_packages_the_sentence_names_the_extra(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "PACKAGES", ("opentelemetry_of_nobody.sdk",))
    with pytest.raises(CganError, match=r"OpenTelemetry is not installed"):
        traces_wanted({"OTEL_TRACES_EXPORTER": "otlp"})
    done = run_here("cgan-serve", bundle_path, OTEL_TRACES_EXPORTER="otlp")
    assert_one_sentence(done, 1, 'pip install "cgan-deploy[otel]"', "OTEL_SDK_DISABLED=true")
