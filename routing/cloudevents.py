"""CloudEvents 1.0 on the way in: structured, batched and binary (HTTP protocol binding, sections 3.1 to 3.3)."""

from typing import Any
from urllib.parse import unquote

import msgspec

from routing.submissions import Submission

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
_VERSION = "1.0"


class _CloudEvent(msgspec.Struct):
    """Its extension attributes are not kept, but for `partitionkey` and `traceparent`."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: Any = None
    partitionkey: str | None = None
    traceparent: Any = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str | None = None


_DECODER = msgspec.json.Decoder(_CloudEvent)


def from_structured(text: bytes | msgspec.Raw) -> Submission:
    """Return the event of one JSON object. Raises msgspec.ValidationError for what is not a CloudEvent."""
    event = _DECODER.decode(text)
    if event.data_base64 is not None:
        raise msgspec.ValidationError("data_base64 is not read; send JSON in data")
    _check(event.specversion, event.datacontenttype)
    return _submission(
        event.id,
        event.source,
        event.type,
        event.data,
        event.subject,
        event.time,
        event.partitionkey,
        event.traceparent,
    )


def from_binary(headers: dict[bytes, bytes], media_type: str, body: bytes) -> Submission:
    """Return the event of a request whose attributes are headers and whose body is the data."""
    attributes = {
        name[3:].decode("latin-1"): unquote(value.decode("latin-1"))
        for name, value in headers.items()
        if name.startswith(b"ce-")
    }
    missing = [name for name in ("id", "source", "type") if not attributes.get(name)]
    if missing:
        raise msgspec.ValidationError(f"the header ce-{missing[0]} is missing")
    _check(attributes["specversion"], media_type or None)
    return _submission(
        attributes["id"],
        attributes["source"],
        attributes["type"],
        msgspec.Raw(body),
        attributes.get("subject"),
        attributes.get("time"),
        attributes.get("partitionkey"),
        attributes.get("traceparent"),
    )


def _check(version: str, media_type: str | None) -> None:
    if version != _VERSION:
        raise msgspec.ValidationError(f"specversion is {version!r}; send {_VERSION!r}")
    if media_type is not None and media_type.partition(";")[0].strip() != "application/json":
        raise msgspec.ValidationError(f"datacontenttype is {media_type!r}; send 'application/json'")


def _submission(
    id: str,
    source: str,
    type: str,
    data: msgspec.Raw,
    subject: str | None,
    time: Any,
    key: str | None,
    traceparent: Any,
) -> Submission:
    # A CloudEvent is the same one where source and id are both the same (specification, section 3.1.1).
    return Submission(
        type=type,
        data=data,
        id=f"{source} {id}",
        date=time,
        source=source,
        subject=subject,
        ordering_key=key,
        traceparent=traceparent,
    )
