"""What the log says besides its words: the ids of what is going on, in whichever thread or task that is."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_ids: ContextVar[Mapping[str, object]] = ContextVar("ids", default=MappingProxyType({}))


@contextmanager
def about(*, traceparent: str = "", **ids: object) -> Iterator[None]:
    """Let what is logged within have these ids, besides those that it has already."""
    trace = {"trace_id": traceparent.split("-")[1]} if traceparent else {}
    before = _ids.set({**_ids.get(), **ids, **trace})
    try:
        yield
    finally:
        _ids.reset(before)


def ids() -> Mapping[str, object]:
    return _ids.get()
