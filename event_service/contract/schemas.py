"""JSON Schemas of what passes the doors. tests/test_contract.py holds their members equal to those of the code."""

from typing import Any

from endpoints import errors
from routing import extensions
from routing.submissions import TEXT_LENGTH

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "pattern": r"^[^\u0000]*$"}
_NAME: Schema = {**_TEXT, "minLength": 1, "maxLength": TEXT_LENGTH}
_UUID: Schema = {"type": "string", "format": "uuid"}
_TRACE: Schema = {"type": "string", "description": "W3C's Trace Context. What is no such value counts as none."}
_ANY_TRACE: Schema = {"description": _TRACE["description"]}  # nothing that is said there refuses an event
_TIME: Schema = {"type": "string", "format": "date-time"}
_ANY: Schema = {"$ref": "#/components/schemas/Data"}
_LARGEST = 1.7976931348623157e308

DATA: Schema = {
    "description": "Any JSON of up to 256 KiB and 100 levels, kept byte for byte. Not: the character U+0000, half of a "
    "surrogate pair, a number beyond a double.",
    "anyOf": [
        {"type": ["null", "boolean"]},
        {"type": "number", "minimum": -_LARGEST, "maximum": _LARGEST},
        _TEXT,
        {"type": "array", "items": _ANY},
        {"type": "object", "propertyNames": _TEXT, "additionalProperties": _ANY},
    ],
}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: Schema, *required: str, closed: bool = True) -> Schema:
    found: Schema = {"type": "object", "properties": properties, "required": list(required)}
    return {**found, "additionalProperties": False} if closed else found


_EXTENSION: Schema = {
    "anyOf": [_TEXT, {"type": ["boolean", "null"]}, {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}]
}
EXTENSIONS: Schema = {
    "type": "object",
    "description": f"Further attributes, CloudEvents' extensions: at most {extensions.MAX_BYTES} bytes as JSON.",
    "propertyNames": {"pattern": f"^{extensions.NAME}$", "not": {"enum": sorted(extensions.TAKEN)}},
    "maxProperties": extensions.MOST,
    "additionalProperties": _EXTENSION,
}

SUBMISSION = _object(
    {
        "type": {**_NAME, "description": "What happened, such as order.paid."},
        "data": _ANY,
        "id": {**nullable(_NAME), "description": "Your own id, which makes the event idempotent in its workspace."},
        "date": {**nullable(_TIME), "description": "When it happened; the time of recording when left out."},
        "source": {**nullable(_NAME), "description": "Where it happened."},
        "subject": {**nullable(_NAME), "description": "What it is about."},
        "orderingKey": {**nullable(_NAME), "description": "Events of one key can be delivered in order."},
        "traceparent": _ANY_TRACE,
        "extensions": nullable(EXTENSIONS),
    },
    "type",
)

CLOUD_EVENT_IN = _object(
    {
        "specversion": {"const": "1.0"},
        "id": {**_NAME, "maxLength": TEXT_LENGTH - 2, "description": "With source and a space, up to 255 characters."},
        "source": {**_NAME, "maxLength": TEXT_LENGTH - 2},
        "type": _NAME,
        "subject": nullable(_NAME),
        "time": nullable(_TIME),
        "partitionkey": {**nullable(_NAME), "description": "The ordering key."},
        "traceparent": _ANY_TRACE,
        "datacontenttype": {"enum": [None, "application/json"]},
        "data": _ANY,
    },
    "specversion",
    "id",
    "source",
    "type",
    closed=False,
)
CLOUD_EVENT_IN |= {
    "propertyNames": {"pattern": f"^{extensions.NAME}$"},
    "maxProperties": extensions.MOST + len(CLOUD_EVENT_IN["required"]),
    "additionalProperties": {**_EXTENSION, "description": "An extension, or dataschema: kept, and sent on."},
}

ENVELOPE = _object(
    {
        "id": {**_UUID, "description": "The same in every attempt, and in the header webhook-id."},
        "type": _NAME,
        "date": _TIME,
        "source": _NAME,
        "subject": _NAME,
        "workspaceId": _UUID,
        "extensions": EXTENSIONS,
        "traceparent": {**_TRACE, "description": "Over websockets: of who published it."},
        "data": _ANY,
    },
    *("id", "type", "date", "workspaceId"),
)

CURSOR: Schema = {"type": "string", "description": "Where to go on from, by after=CURSOR."}
SOCKET_EVENT = {
    **ENVELOPE,
    "properties": {**ENVELOPE["properties"], "cursor": CURSOR},
    "required": [*ENVELOPE["required"], "cursor"],
}
V1_EVENT = {
    **SOCKET_EVENT,
    "properties": {"kind": {"const": "event"}, **SOCKET_EVENT["properties"]},
    "required": ["kind", *SOCKET_EVENT["required"]],
}

CLOUD_EVENT_OUT = _object(
    {
        "specversion": {"const": "1.0"},
        "id": _UUID,
        "source": _NAME,
        "type": _NAME,
        "time": _TIME,
        "subject": _NAME,
        "datacontenttype": {"const": "application/json"},
        "workspaceid": _UUID,
        "traceparent": {**_TRACE, "description": "Of who published it."},
        "data": _ANY,
    },
    *("specversion", "id", "source", "type", "time", "workspaceid"),
    closed=False,
)

CODES = sorted({errors.ServiceError.code, *(error.code for error in errors.ServiceError.__subclasses__())})
ERROR = _object(
    {"code": {"enum": CODES}, "message": {"type": "string"}, "field": {"type": "string"}}, "code", "message"
)
ERROR_ANSWER = _object({"error": {"$ref": "#/components/schemas/Error"}}, "error")
EVENTS_ANSWER = _object(
    {
        "events": {
            "type": "array",
            "items": {
                "oneOf": [
                    _object({"id": _UUID, "duplicate": {"type": "boolean"}}, "id", "duplicate"),
                    {"$ref": "#/components/schemas/ErrorAnswer"},
                ]
            },
        }
    },
    "events",
)

CALL = _object(
    {
        "query": {"type": "string"},
        "variables": {"type": ["object", "null"]},
        "operationName": {"type": ["string", "null"]},
        "extensions": {"type": ["object", "null"]},
    },
    "query",
    closed=False,
)
GRAPHQL_ERROR = _object(
    {
        "message": {"type": "string"},
        "path": {"type": "array"},
        "locations": {"type": "array"},
        "extensions": _object({"code": {"enum": CODES}, "field": {"type": "string"}}, "code"),
    },
    "message",
    "extensions",
)
GRAPHQL_ANSWER = _object(
    {
        "data": {"type": ["object", "null"]},
        "errors": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/GraphQLError"}},
    }
)

LIVE = _object({"live": {"const": True}}, "live")
READY = _object(
    {"ready": {"type": "boolean"}, "missing": {"type": "array", "items": {"type": "string"}}}, "ready", "missing"
)
