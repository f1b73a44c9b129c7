"""W3C trace context: a request that is sent within a span of OpenTelemetry says so to the server."""

from __future__ import annotations

import sys

__all__ = ["trace_headers"]


def trace_headers() -> dict[str, str]:
    """`traceparent` and `tracestate` of the active span; nothing if there is none, or no OpenTelemetry."""
    if "opentelemetry.trace" not in sys.modules:
        return {}  # Nobody can have begun a span, so it need not be loaded either.
    try:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        return {}
    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return headers
