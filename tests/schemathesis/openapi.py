"""What OpenAPI can't say of our doors."""

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(_ctx: Any, case: Any, _kwargs: Any) -> None:
    """Take Idempotency-Key away where its description rules it out: it is the id of a single event that has none."""
    key = case.headers.get("Idempotency-Key") if case.headers else None
    single = case.media_type == "application/json" and isinstance(case.body, dict) and case.body.get("id") is None
    if key is not None and len(key) <= 255 and not single:
        del case.headers["Idempotency-Key"]
    for event in case.body if isinstance(case.body, list) else [case.body]:
        _shorten(event)


def _shorten(event: Any) -> None:
    """A CloudEvent's source and id may each be as long as both together: 255 characters with the space between."""
    if isinstance(event, dict) and "specversion" in event:
        source, id = event.get("source"), event.get("id")
        if isinstance(source, str) and isinstance(id, str) and max(len(source), len(id)) <= 253:
            event["source"] = source[: max(254 - len(id), 0)]
