"""One signed request to a webhook: bytes, headers, signature, and every way the far end can fail as an Outcome."""

import logging
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings

from routing import envelope, tracing
from routing.egress import Door, EgressError
from routing.queue import Job
from routing.signing import Unreadable, own_headers, signatures

logger = logging.getLogger(__name__)

DEADLINE_S = 15
SECRET_LENGTH = 8  # of a header's value, from which it is taken for a secret: "1" or "en" are none
_USER_AGENT = f"event-service/{settings.VERSION}"
_BODILESS = ("GET", "DELETE")


class Outcome(NamedTuple):
    """What came of one request. `error` is empty where it was delivered: a 2xx."""

    started_at: datetime
    duration_ms: float
    status_code: int | None = None
    error: str = ""
    error_detail: str = ""
    response_body: str = ""
    cause: str = ""  # for operators alone, where `error` does not say all
    # What the receiver says of what is to come: the headers Retry-After and webhook-delivery.
    retry_after: str = ""
    webhook_delivery: str = ""


def deliver(job: Job, door: Door, *, now: datetime, deadline_s: float = DEADLINE_S) -> Outcome:
    """Send the event of `job` and return what came of it, by the deadline. `now` dates the signature."""
    body, described = content(job)
    try:
        own = own_headers(job.target.headers)
        headers = described | own | _headers(job, body, now)
    except Unreadable as error:
        logger.error("Delivery %s was not sent. %s", job.delivery_id, error)
        return Outcome(now, 0, error="SECRET_UNREADABLE", error_detail="The operator's log says why.")
    started = time.monotonic()
    try:
        answer = door.send(
            job.target.method,
            job.target.url,
            headers,
            body,
            workspace_id=job.target.workspace_id,
            deadline_s=deadline_s,
        )
    except EgressError as error:
        _log(job, error)
        code, text = error.public
        return Outcome(now, _ms_since(started), error=code, error_detail=text, cause=error.cause)
    status = answer.status_code
    delivered = 200 <= status < 300
    return Outcome(
        now,
        _ms_since(started),
        status,
        error="" if delivered else "HTTP_STATUS",
        error_detail="" if delivered else f"The receiver answered {status}.",
        response_body=_kept(answer.body, own.values()),
        retry_after=answer.headers.get("retry-after", ""),
        webhook_delivery=answer.headers.get("webhook-delivery", ""),
    )


def _log(job: Job, error: EgressError) -> None:
    level = logging.WARNING if error.code.endswith("_REFUSED") else logging.INFO
    about = (job.delivery_id, job.target.endpoint_id, job.workspace_id)
    logger.log(level, "Delivery %s to endpoint %s of workspace %s: %s: %s", *about, error.code, error.detail)


def _kept(body: bytes, secrets: Iterable[str]) -> str:
    """Return the answer as it may be shown: receivers for trying things send back the headers that they got."""
    text = body.decode(errors="replace").replace("\0", "\ufffd")
    parts = [part for value in secrets for part in (value, value.rpartition(" ")[2]) if len(part) >= SECRET_LENGTH]
    for secret in sorted(parts, key=len, reverse=True):
        text = text.replace(secret, "(secret)")
    return text


def content(job: Job) -> tuple[bytes, dict[str, str]]:
    """Return the body, and the headers that say what it is."""
    event: dict[str, Any] = {
        "id": job.event_id,
        "type": job.type,
        "date": job.date,
        "source": job.source,
        "subject": job.subject,
        "workspace_id": job.workspace_id,
        "extensions": job.extensions,
    }
    attributes, media_type, data = {}, "application/json", job.payload
    match job.target.payload_format:
        case "CLOUDEVENTS_BINARY":
            attributes = envelope.binary_headers(**event, traceparent=job.traceparent)
            body = data.encode()
        case "CLOUDEVENTS_STRUCTURED":
            media_type = "application/cloudevents+json"
            body = envelope.structured(**event, data=data, traceparent=job.traceparent)
        case _:
            body = envelope.render(**event, data=data)
    if not body or job.target.method in _BODILESS:
        return b"", attributes
    return body, attributes | {"content-type": media_type}


def _headers(job: Job, body: bytes, now: datetime) -> dict[str, str]:
    message_id, timestamp = str(job.event_id), int(now.timestamp())
    return {
        "user-agent": _USER_AGENT,
        "accept": "*/*",
        "accept-encoding": "identity",
        "traceparent": _traceparent(job),
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures(job.target.keys, message_id, timestamp, body),
    }


def _traceparent(job: Job) -> str:
    """Return W3C's header: of the span that is traced here; or else, in the trace of the event or, where that has none,
    of the delivery, a span for each attempt."""
    if traced := tracing.current():
        return traced
    span = (job.delivery_id.int + job.number) % 2**64
    _, trace_id, _, flags = job.traceparent.split("-") if job.traceparent else ("", job.delivery_id.hex, "", "01")
    return f"00-{trace_id}-{span:016x}-{flags}"


def _ms_since(started: float) -> float:
    return (time.monotonic() - started) * 1000
