"""The websocket in AsyncAPI 3.0. The frames' schemas are made from the types that read and write them."""

from typing import Any

import msgspec
from django.conf import settings

from event_service.contract import schemas
from routing.consumers import PATH
from routing.sockets import frames, window
from routing.sockets.asked import ACKNOWLEDGED

Part = dict[str, Any]
_REF = "#/components/schemas/{name}"


def asyncapi() -> Part:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Event Service: websockets",
            "version": settings.VERSION,
            "description": f"An endpoint's events, in order, by the subprotocol {ACKNOWLEDGED}; without it, "
            "PlainEvent, Watching and Reset alone, and what the client sends is ignored.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "service": {"host": "localhost:8000", "protocol": "ws", "security": [_security("key"), _security("token")]}
        },
        "channels": {
            "events": {
                "address": PATH,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in (*_TOLD, *_SAID)},
                "bindings": {"ws": {"method": "GET", "query": _query()}},
            }
        },
        "operations": {
            "tell": _operation("send", "Frames from the service.", _TOLD),
            "listen": _operation("receive", f"Frames from the client, by {ACKNOWLEDGED}.", _SAID),
        },
        "components": {
            "messages": {
                name: {"summary": summary, "payload": {"$ref": _REF.format(name=name)}}
                for name, summary in (_TOLD | _SAID).items()
            },
            "schemas": _schemas(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "token": {"type": "httpApiKey", "in": "header", "name": "Token"},
            },
        },
    }


def _schemas() -> Part:
    _, made = msgspec.json.schema_components((*frames.SAID, *frames.TOLD), ref_template=_REF)
    found = {name.removeprefix("_"): _closed(schema) for name, schema in made.items()}
    found |= {"Data": schemas.DATA, "PlainEvent": schemas.SOCKET_EVENT, "Event": schemas.V1_EVENT}
    found["Watching"] = {**found["Ready"], "required": ["kind", "endpointId", "cursor"]}
    return found


def _closed(schema: Part) -> Part:
    """Return a schema of msgspec's as one that is closed, with the names that its references have here."""
    text = msgspec.json.encode({**schema, "additionalProperties": False}).replace(b"schemas/_", b"schemas/")
    found: Part = msgspec.json.decode(text)
    return found


def _query() -> Part:
    text, one = {"type": "string"}, {"type": "string", "enum": ["1"]}
    return {
        "type": "object",
        "required": ["endpoint_id"],
        "additionalProperties": False,
        "properties": {
            "endpoint_id": {"type": "string", "format": "uuid"},
            "access": {**text, "description": "A single-use ticket, in place of a key."},
            "after": {**text, "description": "The cursor behind which to begin; 0 is the very start."},
            "from": {**text, "format": "date-time", "description": "The time at which to begin."},
            "share": {**text, "description": "A group whose members divide the events.", "maxLength": 64},
            "window_events": {"type": "integer", "minimum": 1, "maximum": window.MAX_EVENTS},
            "window_bytes": {"type": "integer", "minimum": 1, "maximum": window.MAX_BYTES},
            "watch": {**one, "description": "Look on, and deliver nothing."},
        },
    }


def _operation(action: str, summary: str, messages: Part) -> Part:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/events"},
        "messages": [{"$ref": f"#/channels/events/messages/{name}"} for name in messages],
    }


def _security(name: str) -> Part:
    return {"$ref": f"#/components/securitySchemes/{name}"}


_TOLD = {
    "Ready": "The first frame.",
    "Event": "An event, until it is acknowledged or refused.",
    "Reset": "Some events can't be had.",
    "State": "How a delivery stands, to an operator who looks on.",
    "Error": "A frame of the client's could not be read.",
    "PlainEvent": "An event, delivered when it was sent.",
    "Watching": "The first frame of who looks on.",
}
_SAID = {
    "Ack": "All that was sent up to this cursor was taken.",
    "Nack": "This event was not taken, and is to be sent again.",
}
