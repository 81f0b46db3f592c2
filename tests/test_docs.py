"""The docs say what the code does: each name that a user may need stands in them, and each example is valid."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
from django.urls import get_resolver
from graphql import GraphQLObjectType, parse, validate

from endpoints import patterns
from endpoints.patterns import Pattern, parse_pattern
from endpoints.patterns.conditions import OPERATORS
from event_service.schema import schema
from routing import consumers, ingest
from routing.signing import signature

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CHANGELOG.md", "SECURITY.md", "benchmarks/README.md", "clients/python/README.md")
    ),
    *sorted((ROOT / "docs").glob("*.md")),
]
OPERATIONS = (ROOT / "docs/operations.md").read_text()
FILTERS = (ROOT / "docs/filters.md").read_text()
API = (ROOT / "docs/api.md").read_text()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def missing(names: set[str], page: str) -> list[str]:
    return sorted(name for name in names if not re.search(rf"\b{re.escape(name)}\b", page))


def test_operations_explains_every_environment_variable() -> None:
    settings = (ROOT / "event_service/settings.py").read_text()
    variables = set(re.findall(r'(?:environ\.get|_listed|_switch|_whole|_days|_rate|_door)\(\s*"([A-Z_]+)"', settings))

    assert missing(variables, OPERATIONS) == []
    assert "EVENT_SERVICE_EGRESS_ALLOW" in variables


def test_operations_explains_every_command_and_script() -> None:
    commands = {path.stem for path in ROOT.glob("*/management/commands/[a-z]*.py")}
    scripts = {f"script/{path.name}" for path in (ROOT / "script").iterdir()}

    assert missing(commands | scripts, OPERATIONS) == []
    assert "deliver" in commands


def test_operations_names_every_option_of_the_commands_that_people_start() -> None:
    started = [
        "serve",
        "deliver",
        "create_workspace",
        "create_key",
        "rotate_key",
        "prune_audit",
        "receive",
        "listen",
        "consume",
    ]
    started += ["export", "apply"]
    options = {
        option
        for command in started
        for path in ROOT.glob(f"*/management/commands/{command}.py")
        for option in re.findall(r'add_argument\(\s*"(--[a-z-]+)"', path.read_text())
    }

    assert sorted(option for option in options - {"--lifeline"} if option not in OPERATIONS) == []


def test_the_docs_name_every_route() -> None:
    routes = {str(pattern.pattern).rstrip("/") for pattern in get_resolver().url_patterns}
    routes |= {ingest.PATH.lstrip("/"), consumers.PATH.lstrip("/")}

    assert missing(routes, API + OPERATIONS + (ROOT / "README.md").read_text()) == []


def test_the_api_page_names_every_operation_with_its_arguments() -> None:
    fields = {
        name: field
        for type in (
            schema.graphql_schema.query_type,
            schema.graphql_schema.mutation_type,
            schema.graphql_schema.subscription_type,
        )
        for name, field in type.fields.items()
    }
    arguments = {argument for field in fields.values() for argument in field.args}

    assert missing(set(fields) | arguments, API) == []


def test_the_api_page_names_every_field_of_every_object() -> None:
    objects = [type for type in schema.graphql_schema.type_map.values() if isinstance(type, GraphQLObjectType)]
    fields = {name for type in objects if not type.name.startswith("__") for name in type.fields}

    assert missing(fields, API) == []


def test_every_pattern_on_the_filters_page_is_valid() -> None:
    examples = re.findall(r"```json\n(.*?)```", FILTERS, re.DOTALL)

    assert [type(parse_pattern(json.loads(example))) for example in examples] == [Pattern] * 4


def test_the_table_of_conditions_says_what_they_match() -> None:
    rows = [line.strip("| ").split(" | ") for line in FILTERS.splitlines() if line.endswith(", absent |")]
    rows += [line.strip("| ").split(" | ") for line in FILTERS.splitlines() if line.startswith('| `{"exists": false}`')]
    wrong = [
        (condition, value)
        for condition, *columns in rows
        for column, wanted in zip(columns, (True, False), strict=True)
        for value in re.findall("`(.*?)`|(absent)", column)
        if matches(condition.strip("`"), "".join(value)) is not wanted
    ]

    assert wrong == []
    assert missing(set(OPERATORS), " ".join(condition for condition, *_ in rows)) == []


def matches(condition: str, value: str) -> bool:
    data = {} if value == "absent" else {"field": json.loads(value)}
    return parse_pattern({"data": {"field": [json.loads(condition)]}}).match({"data": data})


def test_the_filters_page_states_every_limit() -> None:
    limits = {value for name, value in vars(patterns).items() if name.startswith("MAX_")} - {256 * 1024}

    stated = re.findall(r"^\| ([\d,]+)", FILTERS.partition("## Limits")[2], re.MULTILINE)
    assert {int(number.replace(",", "")) for number in stated} == limits | {256}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_graphql_example_is_valid(page: Path) -> None:
    examples = re.findall(r"```graphql\n(.*?)```", page.read_text(), re.DOTALL)

    assert [validate(schema.graphql_schema, parse(example)) for example in examples] == [[]] * len(examples)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_query_runs_as_it_stands(graphql: Any, page: Path) -> None:
    queries = re.findall(r"```graphql\n(query.*?)```", page.read_text(), re.DOTALL)

    assert [graphql(query).get("errors") for query in queries] == [None] * len(queries)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_no_operation_has_two_rows_of_the_api_page() -> None:
    rows = re.findall(r"^\| (`\w+\(.*?\)`)", API, re.MULTILINE)

    assert sorted(row for row, count in Counter(rows).items() if count > 1) == []


@pytest.fixture
def by_hand() -> Iterator[Any]:
    """The receiver of docs/receiving.md, as it serves."""
    [_, program] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/receiving.md").read_text(), re.DOTALL)
    made: dict[str, Any] = {"__name__": "by_hand"}
    exec(program, made)
    made["SECRET"] = SECRET
    made["Receiver"].log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), made["Receiver"]) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_the_receiver_by_hand_takes_what_is_signed_and_new_and_nothing_else(by_hand: str, capsys: Any) -> None:
    body = b'{"type": "order.paid"}'
    now = int(time.time())

    def status(timestamp: int, secret: str = SECRET, sent: bytes = body) -> int:
        signed = signature(secret, "id-1", timestamp, body)
        headers = {"webhook-id": "id-1", "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,other {signed}"}
        return requests.post(by_hand, sent, headers=headers, timeout=10).status_code

    assert [status(now), status(now - 290)] == [204, 204]
    assert [status(now - 310), status(now + 310)] == [401, 401]
    assert [status(now, secret="whsec_" + "A" * 32), status(now, sent=body + b" ")] == [401, 401]
    assert requests.post(by_hand, body, timeout=10).status_code == 401
    assert capsys.readouterr().out == "id-1 order.paid\n" * 2
