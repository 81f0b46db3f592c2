"""docs/reference: what is generated from the code. `manage.py reference` writes it, and a test holds it equal."""

import argparse
import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from endpoints.errors import ServiceError
from event_service.contract import DOCUMENTS, document
from event_service.contract.graphql_page import graphql
from event_service.contract.openapi import openapi
from event_service.contract.table import table
from routing import ingest
from routing.sockets import refusals

_ROOT = Path(settings.BASE_DIR)
_MADE = "<!-- Written by `manage.py reference`. -->\n\n"


def files() -> dict[str, str]:
    """Return the text of each file of docs/reference that is generated."""
    pages = {"graphql": graphql, "http": _http, "commands": _commands, "settings": _settings, "errors": _errors}
    return {name: document(name) for name in DOCUMENTS} | {
        f"{name}.md": _MADE + re.sub(r"\n{3,}", "\n\n", write()).strip() + "\n" for name, write in pages.items()
    }


# --- HTTP


def _http() -> str:
    described = openapi()
    parts = [
        "# HTTP\n\nThe doors, as [`openapi.json`](openapi.json) has them; a running service tells it at "
        "`/event-service/openapi.json`. How they are used is in [the API](../api.md#publishing-events-over-http)."
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(f"{method.upper()} {path}", operation))
    parts.append(_operation("The webhook", described["webhooks"]["event"]["post"]))
    return "\n\n".join(parts)


def _operation(title: str, operation: dict[str, Any]) -> str:
    headers = [
        [f"`{each['name']}`", each.get("description") or each["schema"].get("description", "")]
        for each in operation.get("parameters", ())
    ]
    bodies = [
        [f"`{type}`", _shape(content["schema"])]
        for type, content in operation.get("requestBody", {}).get("content", {}).items()
    ]
    answers = [[status, answer["description"]] for status, answer in operation["responses"].items()]
    return "\n\n".join(
        [
            f"## {title}",
            operation["summary"],
            operation.get("description", ""),
            table(["header", "is"], headers),
            table(["body", "is"], bodies),
            table(["status", "means"], answers),
        ]
    )


def _shape(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if schema.get("type") == "array":
        return f"an array of {_shape(schema['items'])}"
    return " or ".join(map(_shape, [*schema.get("oneOf", ()), *schema.get("anyOf", ())]))


# --- commands


def _commands() -> str:
    ours = sorted(name for name, app in get_commands().items() if isinstance(app, str) and (_ROOT / app).is_dir())
    return "# Commands\n\nWhat they are for is in [Operations](../operations.md#commands).\n\n" + "\n\n".join(
        map(_command, ours)
    )


def _command(name: str) -> str:
    command = load_command_class(get_commands()[name], name)
    common = {action.dest for action in BaseCommand().create_parser("manage.py", name)._actions}
    actions = [
        action
        for action in command.create_parser("manage.py", name)._actions
        if action.dest not in common and action.help != argparse.SUPPRESS
    ]
    rows = [[f"`{_spelling(action)}`", action.help or ""] for action in actions]
    return f"## manage.py {name}\n\n{command.help}\n\n{table(['argument', 'is'], rows)}"


def _spelling(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings) or str(action.metavar or action.dest).upper()
    takes = action.option_strings and action.nargs != 0
    return f"{name} {str(action.metavar or action.dest).upper()}" if takes else name


# --- settings


def _settings() -> str:
    source = (_ROOT / "event_service/settings.py").read_text()
    variables = sorted(set(re.findall(r'(?:environ\.get|_listed|_switch|_whole|_days|_rate)\(\s*"([A-Z_]+)"', source)))
    variables.remove("XDG_DATA_HOME")  # the desktop's; told where DATA_DIR is
    rows = _told_of_settings()
    return "# Settings\n\nEvery environment variable, as `event_service/settings.py` reads them.\n\n" + table(
        ["variable", "default", "meaning"], [[f"`{name}`", *rows[name]] for name in variables]
    )


def _told_of_settings() -> dict[str, list[str]]:
    """Return default and meaning of each variable, as the operators' page has them."""
    found: dict[str, list[str]] = {}
    for line in (_ROOT / "docs/operations.md").read_text().splitlines():
        cells = line.strip("| ").split(" | ")
        if line.startswith("| `") and len(cells) == 3:
            names = re.findall(r"`([A-Z_]+)`", cells[0])
            defaults = cells[1].split(", ") if len(names) > 1 else [cells[1]]
            found |= {
                name: [_moved(default), _moved(cells[2])]
                for name, default in zip(names, defaults * len(names), strict=False)
            }
    return found


def _moved(text: str) -> str:
    """Return text of docs/operations.md with links as they are from docs/reference."""
    return re.sub(r"\]\((?!https?:)([^)#]*)(#?)", lambda link: f"](../{link[1] or 'operations.md'}{link[2]}", text)


# --- errors


def _errors() -> str:
    codes = [
        [f"`{error.code}`", _statuses(error), error.__doc__ or ""]
        for error in ServiceError.__subclasses__()
        if error.__module__ == "endpoints.errors"
    ]
    closes = [[str(value), f"`{name}`"] for name, value in vars(refusals).items() if isinstance(value, int)]
    return (
        "# Errors\n\n## Codes of the API\n\nIn `error.code` over HTTP, in `extensions.code` over GraphQL. A status is "
        "that of an answer over HTTP.\n\n"
        + table(["code", "status", "means"], [*codes, ["`INTERNAL`", "", ServiceError.__doc__ or ""]])
        + "\n\n## Close codes of websockets\n\n"
        + table(["close code", "is"], closes)
        + "\n\nWhat to do about each is in [the API](../api.md#limits-and-how-a-socket-ends). The errors of attempts "
        "are there too: [Webhooks](../api.md#webhooks); the reasons of deliveries in "
        "[Operations](../operations.md#when-things-go-wrong)."
    )


def _statuses(error: type[ServiceError]) -> str:
    return ", ".join(sorted({str(status) for kind, status in ingest.STATUS.items() if issubclass(kind, error)}))
