"""CloudEvents 1.0 on the way in: structured, batched and binary (HTTP protocol binding, sections 3.1 to 3.3)."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec

from routing.submissions import Submission

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
_VERSION = "1.0"
_Named = Annotated[str, msgspec.Meta(min_length=1)]


class _CloudEvent(msgspec.Struct):
    """What the service knows of it. `partitionkey` is the ordering key, and kept as an extension too."""

    specversion: str
    id: _Named
    source: _Named
    type: str
    subject: str | None = None
    time: Any = None
    partitionkey: str | None = None
    traceparent: Any = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str | None = None


class _Plain(_CloudEvent, forbid_unknown_fields=True):
    pass


_PLAIN, _DECODER = msgspec.json.Decoder(_Plain), msgspec.json.Decoder(_CloudEvent)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KNOWN = frozenset(_CloudEvent.__struct_fields__)
_ATTRIBUTES = _KNOWN - {"data", "data_base64"}


def from_structured(text: bytes | msgspec.Raw) -> Submission:
    """Return the event of one JSON object. Raises msgspec.ValidationError for what is not a CloudEvent."""
    event: _CloudEvent
    others: dict[str, Any] = {}
    try:
        event = _PLAIN.decode(text)
    except msgspec.ValidationError:  # It is none, or it has extensions: who has none does not pay for them.
        event = _DECODER.decode(text)
        members = _MEMBERS.decode(text).items()
        others = {name: msgspec.json.decode(value) for name, value in members if name not in _KNOWN}
    if event.data_base64 is not None:
        raise msgspec.ValidationError("data_base64 is not read; send JSON in data")
    return _submission(event, others)


def from_binary(headers: dict[bytes, bytes], media_type: str, body: bytes) -> Submission:
    """Return the event of a request whose attributes are headers and whose body is the data."""
    attributes = {
        name[3:].decode("latin-1"): unquote(value.decode("latin-1"))
        for name, value in headers.items()
        if name.startswith(b"ce-")
    }
    return from_attributes(attributes, media_type, body)


def from_attributes(attributes: Mapping[str, str], media_type: str, body: bytes) -> Submission:
    """Return the event of any binding's binary mode. Raises msgspec.ValidationError for what is not a CloudEvent."""
    missing = [name for name in ("id", "source", "type") if not attributes.get(name)]
    if missing:
        raise msgspec.ValidationError(f"the header ce-{missing[0]} is missing")
    known: dict[str, Any] = {name: attributes[name] for name in _ATTRIBUTES & attributes.keys()}
    event = _CloudEvent(**known | {"datacontenttype": media_type or None}, data=msgspec.Raw(body))
    return _submission(event, {name: value for name, value in attributes.items() if name not in _ATTRIBUTES})


def _submission(event: _CloudEvent, others: dict[str, Any]) -> Submission:
    _check(event.specversion, event.datacontenttype)
    if event.partitionkey is not None:
        others["partitionkey"] = event.partitionkey
    # A CloudEvent is the same one where source and id are both the same (specification, section 3.1.1).
    return Submission(
        type=event.type,
        data=event.data,
        id=f"{event.source} {event.id}",
        date=event.time,
        source=event.source,
        subject=event.subject,
        ordering_key=event.partitionkey,
        traceparent=event.traceparent,
        extensions=others or None,
    )


def _check(version: str, media_type: str | None) -> None:
    if version != _VERSION:
        raise msgspec.ValidationError(f"specversion is {version!r}; send {_VERSION!r}")
    if media_type is not None and media_type.partition(";")[0].strip().lower() != "application/json":
        raise msgspec.ValidationError(f"datacontenttype is {media_type!r}; send 'application/json'")
