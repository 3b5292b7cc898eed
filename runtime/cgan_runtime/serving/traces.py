"""Whether the environment asks for OpenTelemetry traces, by the variables that OpenTelemetry itself defines.

Their meaning: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables. The gateway's SDK
reads the other ones (sampler, headers, batches) from the environment that it inherits.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Final

from cgan_runtime.contract import Value
from cgan_runtime.errors import CganError, UsageError

__all__ = ["Traces", "otel_variables", "traces_wanted", "triton_trace_options"]

DEFAULT_BASE: Final = "http://localhost:4318"
DEFAULT_SERVICE: Final = "cgan-serve"
SPANS_OF_ITS_OWN: Final = 2**31 - 1  # Triton would trace one of so many requests that come without a parent
PACKAGES: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class Traces(Value):
    """Where spans go.

    Attributes:
        url: of the collector, for OTLP over HTTP; "http://localhost:4318/v1/traces".
        service: `service.name` of the gateway's spans; Triton's has "-triton" behind it.
        delay_ms: longest time that a span waits for others to be sent with.
    """

    url: str
    service: str = DEFAULT_SERVICE
    delay_ms: int = 5000


def otel_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of OpenTelemetry; an empty one counts for none."""
    return {name: value.strip() for name, value in variables.items() if name.startswith("OTEL_") and value.strip()}


def traces_wanted(variables: Mapping[str, str]) -> Traces | None:
    """What the environment asks for; None where it asks for no traces.

    Raises:
        UsageError: it asks for another exporter or protocol than there is, or names no address.
        CganError: the packages are not installed.
    """
    given = otel_variables(variables)
    own, base = (given.get(f"OTEL_EXPORTER_OTLP_{part}ENDPOINT") for part in ("TRACES_", ""))
    exporter = given.get("OTEL_TRACES_EXPORTER", "otlp" if own or base else "none")
    if exporter == "none" or given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if exporter != "otlp":
        raise UsageError(f"OTEL_TRACES_EXPORTER is {exporter!r}; it can be otlp, or none for no traces.")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if given.get(name, "http/protobuf") != "http/protobuf":
            raise UsageError(
                f"{name} is {given[name]!r}, and traces are sent by http/protobuf; set it so, with the collector's "
                "address for HTTP, usually port 4318."
            )
    url = own or f"{(base or DEFAULT_BASE).rstrip('/')}/v1/traces"
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"traces cannot be sent to {url}; give OTEL_EXPORTER_OTLP_ENDPOINT as http://HOST:PORT.")
    if not all(_installed(package) for package in PACKAGES):
        raise CganError(
            "the environment (OTEL_...) asks for traces, and OpenTelemetry is not installed; run: "
            'pip install "cgan-deploy[otel]", or set OTEL_SDK_DISABLED=true.'
        )
    delay = given.get("OTEL_BSP_SCHEDULE_DELAY", "")
    return Traces(url=url, service=_service(given), delay_ms=int(delay) if delay.isdecimal() else 5000)


def triton_trace_options(traces: Traces) -> list[str]:
    """Options of tritonserver: it traces those requests that come with the span they belong to."""
    settings = (
        "mode=opentelemetry",
        f"opentelemetry,url={traces.url}",
        f"opentelemetry,resource=service.name={traces.service}-triton",
        f"opentelemetry,bsp_schedule_delay={traces.delay_ms}",
        "level=TIMESTAMPS",
        f"rate={SPANS_OF_ITS_OWN}",
    )
    return [word for setting in settings for word in ("--trace-config", setting)]


def _service(given: Mapping[str, str]) -> str:
    pairs = (pair.partition("=") for pair in given.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    named = {key.strip(): value.strip() for key, _, value in pairs}
    return given.get("OTEL_SERVICE_NAME") or named.get("service.name") or DEFAULT_SERVICE


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False
