from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.test import Client, TransactionTestCase

from endpoints.models import ApiKey, Endpoint, Scope, Workspace
from routing.egress import Door, judge
from tests.receiver import Receiver
from tests.web import Web, running, wait_for_ends

# A password takes as long to check as to guess, on purpose: half a second for each user of a test.
django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that start a whole service or a browser, lest one of them is waited for at the end."""
    slow = {item.path for item in items if {"service", "page", "chaos"} & set(getattr(item, "fixturenames", ()))}
    items.sort(key=lambda item: item.path not in slow)


def _empty(_: TransactionTestCase) -> None:
    """Empty the tables that a test wrote to. Django empties all, and makes permissions anew: a third of a second."""
    kept = ("django_migrations", "django_content_type", "auth_permission")
    with transaction.atomic(), connection.cursor() as cursor:
        tables = [name for name in connection.introspection.table_names() if name not in kept]
        look = " UNION ALL ".join(f"(SELECT '{name}' FROM \"{name}\" LIMIT 1)" for name in tables)
        written: set[str] = set()
        while found := _names(cursor, look) - written:  # whoever still writes is waited for, and may have filled others
            cursor.execute(f"LOCK TABLE {', '.join(found)} IN ACCESS EXCLUSIVE MODE")
            written |= found
        cursor.execute("SET LOCAL session_replication_role = replica")  # no triggers, and in any order
        for name in written:  # few rows are gone sooner than files are made anew
            cursor.execute(f"DELETE FROM {name}")


def _names(cursor: Any, look: str) -> set[str]:
    cursor.execute(look)
    return {f'"{name}"' for (name,) in cursor.fetchall()}


TransactionTestCase._fixture_teardown = _empty


@pytest.fixture(autouse=True)
def _no_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests count queries, and charge the one address that they all have: those of the rates say what they want."""
    for whose in ("KEY", "WORKSPACE", "ADDRESS"):
        monkeypatch.setattr(django_settings, f"RATE_PER_{whose}", None)


@pytest.fixture
def workspace(db: None) -> Workspace:
    return Workspace.objects.create(name="Ours")


@pytest.fixture
def foreign_workspace(db: None) -> Workspace:
    return Workspace.objects.create(name="Theirs")


@pytest.fixture
def key(workspace: Workspace) -> str:
    """The text of a key with every scope."""
    return ApiKey.issue(workspace=workspace, name="everything", scopes=Scope.values)[1]


@pytest.fixture
def web_socket(workspace: Workspace) -> Endpoint:
    return Endpoint.create_web_socket(workspace_id=workspace.pk, name="MySocket")


@pytest.fixture
def webhook(workspace: Workspace) -> Endpoint:
    return Endpoint.create_webhook(workspace_id=workspace.pk, name="MyHook", url="https://example.com/hook")


@pytest.fixture
def foreign(foreign_workspace: Workspace) -> Endpoint:
    return Endpoint.create_webhook(workspace_id=foreign_workspace.pk, name="Foreign", url="https://example.com/")


@pytest.fixture
def graphql(client: Client, key: str) -> Callable[..., Any]:
    """Ask the API and return the whole answer: graphql(query, **variables), or with another key by `as_key`."""

    def ask(query: str, *, as_key: str = key, **variables: Any) -> Any:
        body = {"query": query, "variables": variables}
        headers = {"Authorization": f"Bearer {as_key}"}
        return client.post("/event-service/graphql", body, "application/json", headers=headers).json()

    return ask


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """A receiver on loopback, which webhooks may reach as long as the test runs."""
    settings.EGRESS_ALLOW = [ip_network("127.0.0.0/8")]
    judge.cache_clear()
    with Receiver() as receiver:
        yield receiver
    judge.cache_clear()


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


@pytest.fixture
def sockets_left(transactional_db: None) -> Iterator[None]:
    """Let web processes write the ends of their sockets before the tables are emptied."""
    yield
    wait_for_ends()


@pytest.fixture(scope="module")
def web(django_db_setup: None) -> Iterator[Web]:
    """A web process on the test database, for the tests of a module."""
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def other_web(django_db_setup: None) -> Iterator[Web]:
    with running() as found:
        yield found
