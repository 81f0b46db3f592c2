"""Where an event comes from and goes to, as a trace: W3C's traceparent always, spans of OpenTelemetry where the
settings name a collector. Its packages are optional, and without a collector nothing of them is imported.
"""

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link, SpanContext, Tracer

MOST_LINKS = 128  # of a span, as OpenTelemetry has it
_FLUSH_S = 2.0  # at the end, for what the collector has not got
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_OFF = nullcontext("")

_tracer: "Tracer | None" = None
_provider: "TracerProvider | None" = None


def accepted(text: str | None) -> str:
    """Return a traceparent as version 00 has it; "" for what is none: W3C wants it passed over, not refused."""
    found = _PARENT.fullmatch(text.strip()) if isinstance(text, str) and text.isascii() else None
    if found is None or (text.strip().startswith("00") and found[4]):  # type: ignore[union-attr]
        return ""
    return f"00-{found[1]}-{found[2]}-{found[3]}"


def is_on() -> bool:
    """Tell whether anybody traces."""
    return _tracer is not None


def span(
    name: str, *, parent: str | None = None, links: Iterable[str] = (), **attributes: Any
) -> AbstractContextManager[str]:
    """Return a context that is a span of that name, and yields its traceparent; "" where nobody traces.

    Without `parent` it is beneath the current span; where that is "", beneath none.
    """
    return _OFF if _tracer is None else _spanning(_tracer, name, parent, links, attributes)


@contextmanager
def _spanning(
    tracer: "Tracer", name: str, parent: str | None, links: Iterable[str], attributes: dict[str, Any]
) -> Iterator[str]:
    with tracer.start_as_current_span(
        name, None if parent is None else _beneath(parent), links=_links(links), attributes=_named(attributes)
    ) as begun:
        yield _text(begun.get_span_context())


def past(name: str, since_ns: int, *, parent: str = "", links: Iterable[str] = (), **attributes: Any) -> str:
    """Tell of something that is over, if it was worth it, and return its traceparent. It has no parent unless given."""
    if _tracer is None:
        return ""
    named = _named(attributes)
    done = _tracer.start_span(name, _beneath(parent), links=_links(links), start_time=since_ns, attributes=named)
    done.end()
    return _text(done.get_span_context())


def current() -> str:
    """Return the traceparent of the current span; "" where there is none."""
    if _tracer is None:
        return ""
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return _text(context) if context.is_valid else ""


def note(**attributes: Any) -> None:
    """Say more of the current span."""
    if _tracer is not None:
        from opentelemetry import trace

        trace.get_current_span().set_attributes(_named(attributes))


def start() -> None:
    """Trace from now on, if the settings say where to."""
    if not settings.TRACING:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": settings.TRACED_AS}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    use(provider)


def use(provider: "TracerProvider | None") -> None:
    global _provider, _tracer
    _provider = provider
    _tracer = provider.get_tracer("event-service", settings.VERSION) if provider else None


def stop() -> None:
    """Send what is left. A collector that does not answer holds nobody up."""
    if _provider is not None:
        flushing = threading.Thread(target=_provider.force_flush, name="last spans", daemon=True)
        flushing.start()
        flushing.join(_FLUSH_S)


def _beneath(parent: str) -> Any:
    from opentelemetry import trace
    from opentelemetry.context import Context

    context = _parsed(parent)
    return trace.set_span_in_context(trace.NonRecordingSpan(context), Context()) if context else Context()


def _links(parents: Iterable[str]) -> "list[Link]":
    from opentelemetry.trace import Link

    contexts = [context for parent in dict.fromkeys(parents) if (context := _parsed(parent))]
    return [Link(context) for context in contexts[:MOST_LINKS]]


def _parsed(parent: str) -> "SpanContext | None":
    from opentelemetry.trace import SpanContext, TraceFlags

    if not parent:
        return None
    _, trace_id, span_id, flags = parent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _text(context: "SpanContext") -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _named(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return them as OpenTelemetry has names: ours with a prefix, its own by their dots."""
    return {
        name.replace("__", ".") if "__" in name else f"event_service.{name}": value
        if isinstance(value, int | float)
        else str(value)
        for name, value in attributes.items()
        if value is not None
    }
