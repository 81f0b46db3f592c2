"""The HTTP doors, and the webhook that receivers get, in OpenAPI 3.1."""

from typing import Any

from django.conf import settings

from event_service.contract import schemas
from event_service.graphql import MEDIA_TYPES
from routing import cloudevents, ingest

Part = dict[str, Any]
_RETRY: Part = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string"}}}
_REFUSALS = {
    400: "The request, or all that it holds, is refused.",
    401: "No key, or none that is known.",
    403: "The key lacks the scope, or the page its token.",
    405: "Another method.",
    409: "Every event has an id that stands for another one.",
    413: "The body is too large.",
    415: "Another content type or encoding.",
    429: "Too much: a rate limit or a quota.",
    503: "The database does not answer: repeat.",
}


def openapi() -> Part:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Event Service",
            "version": settings.VERSION,
            "summary": "Events in; signed webhooks and websockets out.",
            "description": "GraphQL has a schema of its own, schema.graphql; the websocket has asyncapi.json.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            ingest.PATH: {"post": _publish()},
            "/event-service/graphql": {"post": _graphql()},
            **{f"/event-service/{name}": {"get": _document(name, type)} for name, type in _TYPES.items()},
            "/healthz": {"get": _health("healthz", "Whether the process lives.", "Live", 200)},
            "/readyz": {
                "get": _health("readyz", "Whether requests can be served, or what is missing.", "Ready", 200, 503)
            },
            "/metrics": {"get": _metrics()},
        },
        "webhooks": {"event": {"post": _webhook()}},
        "components": {"schemas": _SCHEMAS, "securitySchemes": _SECURITY_SCHEMES},
    }


def _publish() -> Part:
    answers = {
        "202": _answer("Stored, with what is owed because of it; in the order of the request.", "EventsAnswer"),
        **_refusals(401, 403, 405, 413, 415, 429, 503),
    }
    for status in (400, 409):  # of the request, or of each event that it holds
        either = {"anyOf": [_ref("EventsAnswer"), _ref("ErrorAnswer")]}
        answers[str(status)] = {"description": _REFUSALS[status], "content": {"application/json": {"schema": either}}}
    return {
        "operationId": "publish",
        "summary": "Publish one event or up to 1,000.",
        "description": "A CloudEvent in binary mode is any request with the header ce-specversion: its attributes are "
        "headers, and the body is the data.",
        "security": _KEYED,
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The id of a single event of application/json that has none.",
                "schema": {"type": "string", "maxLength": 255},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _one_or_many("Event")},
                cloudevents.STRUCTURED: {"schema": _one_or_many("CloudEvent")},
                cloudevents.BATCH: {"schema": _one_or_many("CloudEvent")},
            },
        },
        "responses": answers,
    }


def _one_or_many(name: str) -> Part:
    many = {"type": "array", "items": _ref(name), "minItems": 1, "maxItems": ingest.MAX_EVENTS}
    return {"oneOf": [_ref(name), many]}


def _graphql() -> Part:
    def answer(description: str) -> Part:
        types = (media_type.partition(";")[0] for media_type in MEDIA_TYPES)
        return {"description": description, "content": {each: {"schema": _ref("GraphQLAnswer")} for each in types}}

    return {
        "operationId": "graphql",
        "summary": "One GraphQL operation.",
        "description": "What can be asked is in schema.graphql.",
        "security": [*_KEYED, {}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("GraphQLCall")}}},
        "responses": {
            "200": answer("It ran, even where fields of it failed."),
            "400": answer("Nothing of it was run."),
            **{str(status): answer(_REFUSALS[status]) for status in (405, 413, 415)},
            **{str(status): {**answer(_REFUSALS[status]), "headers": _RETRY} for status in (429, 503)},
        },
    }


def _document(name: str, media_type: str) -> Part:
    found = {"description": "The document.", "content": {media_type: {"schema": {"type": ["object", "string"]}}}}
    return {
        "operationId": name.replace(".", "_"),
        "summary": f"What the service says of itself: {name}.",
        "description": "Told without a key as long as the operator has the editor switched on.",
        "security": [*_KEYED, {}],
        "responses": {"200": found, **_refusals(401, 503), "405": {"description": _REFUSALS[405]}},
    }


def _health(name: str, summary: str, schema: str, *statuses: int) -> Part:
    answers = {str(status): _answer(summary, schema) for status in statuses}
    return {
        "operationId": name,
        "summary": summary,
        "security": [],
        "responses": {**answers, "405": {"description": _REFUSALS[405]}},
    }


def _metrics() -> Part:
    return {
        "operationId": "metrics",
        "summary": "How the installation fares, for Prometheus: docs/observability.md.",
        "security": [{"metricsToken": []}],
        "responses": {
            "200": {"description": "Its text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
            "401": {"description": "It is not EVENT_SERVICE_METRICS_TOKEN."},
            "404": {"description": "EVENT_SERVICE_METRICS_TOKEN is not set."},
            "405": {"description": _REFUSALS[405]},
            "503": {"description": "The database does not answer."},
        },
    }


def _webhook() -> Part:
    standard = {
        "description": "The event; in CloudEvents' binary mode, its data alone.",
        "anyOf": [_ref("WebhookEvent"), _ref("Data")],
    }
    return {
        "operationId": "receive",
        "summary": "An event, sent to a webhook endpoint by the method that it has.",
        "description": "Verify webhook-signature over the raw bytes, by any library of Standard Webhooks. Answer "
        "within the endpoint's deadline; the same event may come twice, with the same webhook-id.",
        "parameters": [
            *(_header(name, schema, required=True) for name, schema in WEBHOOK_HEADERS.items()),
            *(_header(name, {"type": "string"}) for name in CLOUD_EVENT_HEADERS),
        ],
        "requestBody": {
            "content": {
                "application/json": {"schema": standard},
                cloudevents.STRUCTURED: {"schema": _ref("WebhookCloudEvent")},
            },
        },
        "responses": {
            "2XX": {"description": "Delivered."},
            "410": {"description": "Given up, and the endpoint is disabled."},
            "429": {"description": "Tried again; the endpoint gets nothing meanwhile.", "headers": _RETRY},
            "default": {
                "description": "Tried again by the endpoint's schedule, unless its finalStatuses say otherwise."
            },
        },
    }


def _header(name: str, schema: Part, *, required: bool = False) -> Part:
    return {"name": name, "in": "header", "required": required, "schema": schema}


def _refusals(*statuses: int) -> Part:
    return {str(status): _answer(_REFUSALS[status], "ErrorAnswer") for status in statuses}


def _answer(description: str, schema: str) -> Part:
    return {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}


def _ref(name: str) -> Part:
    return {"$ref": f"#/components/schemas/{name}"}


_TYPES = {"schema.graphql": "text/plain", "openapi.json": "application/json", "asyncapi.json": "application/json"}
_KEYED: list[Part] = [{"key": []}, {"token": []}]
_SECURITY_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key of the workspace: es_live_..."},
    "token": {"type": "apiKey", "in": "header", "name": "Token", "description": "The same key."},
    "metricsToken": {"type": "http", "scheme": "bearer", "description": "EVENT_SERVICE_METRICS_TOKEN."},
}
_SCHEMAS = {
    "Event": schemas.SUBMISSION,
    "CloudEvent": schemas.CLOUD_EVENT_IN,
    "Data": schemas.DATA,
    "EventsAnswer": schemas.EVENTS_ANSWER,
    "Error": schemas.ERROR,
    "ErrorAnswer": schemas.ERROR_ANSWER,
    "GraphQLCall": schemas.CALL,
    "GraphQLAnswer": schemas.GRAPHQL_ANSWER,
    "GraphQLError": schemas.GRAPHQL_ERROR,
    "Live": schemas.LIVE,
    "Ready": schemas.READY,
    "WebhookEvent": schemas.ENVELOPE,
    "WebhookCloudEvent": schemas.CLOUD_EVENT_OUT,
}
WEBHOOK_HEADERS: dict[str, Part] = {
    "webhook-id": {"type": "string", "format": "uuid", "description": "The event's id, the same in every attempt."},
    "webhook-timestamp": {"type": "string", "description": "Seconds since 1970, of this attempt."},
    "webhook-signature": {"type": "string", "description": "v1,BASE64 and more, separated by spaces."},
    "traceparent": {"type": "string", "description": "A trace for the delivery, a span for the attempt."},
    "user-agent": {"type": "string"},
}
CLOUD_EVENT_HEADERS = [
    f"ce-{name}" for name in ("specversion", "id", "source", "type", "time", "subject", "workspaceid", "traceparent")
]
