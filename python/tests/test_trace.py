"""Requests within a span of OpenTelemetry carry its W3C trace context."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator

import pytest
from conftest import Gateway, Server, eventually
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from throttle_client import AsyncClient, Client, lock

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
PARENT = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"


@pytest.fixture
def gateway(server: Server) -> Iterator[Gateway]:
    """The way to the server, which sees all headers."""
    with contextlib.closing(Gateway(server.port)) as instance:
        yield instance


def span() -> contextlib.AbstractContextManager[object]:
    context = SpanContext(
        TRACE, 0x00F067AA0BA902B7, False, TraceFlags(TraceFlags.SAMPLED), TraceState([("vendor", "x")])
    )
    return trace.use_span(NonRecordingSpan(context))


def parents(gateway: Gateway) -> list[tuple[str, object]]:
    return [(path, headers["traceparent"]) for _, path, headers in gateway.requests]


@pytest.mark.usefixtures("v1")
def test_a_lock_belongs_to_the_span_in_which_it_is_taken(gateway: Gateway) -> None:
    with span():
        manager = lock(gateway.url, "A", ttl=0.9)
        handle = manager.__enter__()
    assert [parent for _, parent in parents(gateway)] == [PARENT]
    assert {headers["tracestate"] for _, _, headers in gateway.requests} == {"vendor=x"}
    renewal = f"/v1/peers/{handle.id}/heartbeat"
    eventually(lambda: renewal in dict(parents(gateway)))
    assert dict(parents(gateway))[renewal] is None, "the span may be over long since"
    manager.__exit__(None, None, None)


def test_clients_send_the_context_too(gateway: Gateway) -> None:
    async def main() -> None:
        async with AsyncClient(gateway.url) as client:
            with span():
                await client.remainder("A")
            await client.remainder("A")

    with span():
        Client(gateway.url).remainder("A")
    Client(gateway.url).remainder("A")
    asyncio.run(main())
    assert [parent for _, parent in parents(gateway)] == [PARENT, None, PARENT, None]


@pytest.mark.parametrize("missing", ["opentelemetry.trace", "opentelemetry.trace.propagation.tracecontext"])
def test_without_opentelemetry_nothing_is_sent(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing.endswith("tracecontext"):
        monkeypatch.setitem(sys.modules, missing, None)
    else:
        monkeypatch.delitem(sys.modules, missing)
    with span():
        assert Client(gateway.url).remainder("A") == 1
    assert [parent for _, parent in parents(gateway)] == [None]
