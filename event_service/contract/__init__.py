"""What the service says of itself to programs: its GraphQL schema, and its doors in OpenAPI and AsyncAPI.

All of it is made from the code that does the work. docs/reference has it as files, written by `manage.py reference`.
"""

import json
from collections.abc import Callable
from functools import cache

from django.conf import settings
from graphql import print_schema

from event_service.contract.asyncapi import asyncapi
from event_service.contract.openapi import openapi
from event_service.schema import schema


def _graphql() -> str:
    return f"# Event Service {settings.VERSION}\n\n{print_schema(schema.graphql_schema)}\n"


def _as_json(document: Callable[[], object]) -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


DOCUMENTS: dict[str, Callable[[], str]] = {
    "schema.graphql": _graphql,
    "openapi.json": lambda: _as_json(openapi),
    "asyncapi.json": lambda: _as_json(asyncapi),
}


@cache
def document(name: str) -> str:
    return DOCUMENTS[name]()
