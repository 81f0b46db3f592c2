"""Behind the filters: what PostgreSQL shows and takes while a transaction is about one workspace."""

from contextlib import contextmanager, suppress
from random import Random

import pytest
from django.apps import apps
from django.db import DatabaseError, ProgrammingError, connection, transaction

from endpoints.models import Endpoint, EventFilter, Workspace
from endpoints.schema.mutations.endpoints import PauseEndpoints
from endpoints.tenancy import (
    TENANT,
    TENANTS,
    WORKSPACE,
    WORKSPACES,
    check_roles,
    transaction_with,
    within,
    within_for_many,
)
from event_service import operations
from event_service.postgres.prepared import prepared
from event_service.schema import schema
from routing.sockets.admission import standings
from routing.sockets.feed import Feed
from tests.traffic import record
from tests.workspaces import fill

OF_NOBODY = {  # processes; what the doors charge before they let in; and what is of people rather than workspaces
    "routing_socketnode",
    "routing_workernode",
    "endpoints_spending",
    "routing_savedview",
}
TABLES = sorted(
    model._meta.db_table
    for app in ("endpoints", "routing")
    for model in apps.get_app_config(app).get_models()
    if model._meta.db_table not in OF_NOBODY
)


def count(table):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


def settings_now():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, current_setting(%s, true), current_setting(%s, true)", [WORKSPACE, WORKSPACES]
        )
        user, *rest = cursor.fetchone()
    return user in (TENANT, TENANTS), *(value or "" for value in rest)


@pytest.fixture
def both(workspace, foreign_workspace):
    for each in (workspace, foreign_workspace):
        fill(each)
        record(each)
    return workspace, foreign_workspace


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("role", [TENANT, TENANTS])
def test_no_table_shows_anything_while_nothing_is_said(both, table, role):
    with transaction_with({"role": role}):
        assert count(table) == 0
    with transaction_with({"role": role, WORKSPACE: "", WORKSPACES: ""}):
        assert count(table) == 0


FILLED = [table for table in TABLES if table not in (
    "routing_idempotencyrecord", "routing_socketticket", "routing_sharegroup", "routing_shareddelivery",
    "routing_deliverychange", "routing_dailyevents", "routing_rollup", "routing_forgotten", "endpoints_staffbinding",
)]  # fmt: skip


@pytest.mark.parametrize("table", FILLED)
@pytest.mark.parametrize("inside", [within, within_for_many])
def test_a_table_shows_each_workspace_its_own_rows_alone(both, table, inside):
    found = []
    for workspace in both:
        with inside(workspace.pk):
            found.append(count(table))
    with transaction_with({"role": TENANTS, WORKSPACES: ",".join(str(each.pk) for each in both)}):
        together = count(table)

    assert min(found) > 0
    assert sum(found) == together == count(table)


def test_what_is_done_for_a_socket_sees_its_workspace_alone(both, web_socket):
    feed = Feed(standings({web_socket.pk})[web_socket.pk])
    seen = feed.inside(lambda: list(Workspace.objects.values_list("pk", flat=True)))()

    assert seen == [web_socket.workspace_id]


def test_a_statement_that_is_planned_once_sees_the_workspace_of_each_run(both):
    def seen():
        with prepared() as cursor:
            cursor.execute("SELECT id FROM endpoints_workspace WHERE name <> %s ORDER BY id", ["nobody's"])
            return [each for (each,) in cursor.fetchall()]

    for inside in (within, within_for_many):  # another role has another plan
        for _ in range(6):  # the first five are planned for their own values
            for workspace in both:
                with inside(workspace.pk):
                    assert seen() == [workspace.pk]
    assert seen() == sorted(each.pk for each in both)


def test_a_row_of_another_workspace_can_not_be_written(workspace, foreign_workspace):
    with pytest.raises(ProgrammingError, match="row-level security"), within(workspace.pk):
        Workspace.objects.filter(pk=workspace.pk).update(id=foreign_workspace.pk)
    with pytest.raises(ProgrammingError, match="row-level security"), within(workspace.pk):
        EventFilter.objects.bulk_create(
            [EventFilter(workspace=foreign_workspace, name="n", definition={"pattern": {}})]
        )

    with within(workspace.pk):
        assert Workspace.objects.filter(pk=foreign_workspace.pk).update(name="taken") == 0
    assert not EventFilter.objects.exists()


def test_people_and_sessions_are_not_for_who_has_a_key(workspace):
    for table in ("auth_user", "django_session", "django_admin_log", "routing_conservation"):
        with pytest.raises(ProgrammingError, match="permission denied"), within(workspace.pk):
            count(table)


@pytest.mark.django_db(transaction=True)
def test_one_connection_serves_workspaces_in_turn_and_none_reads_anothers_rows(workspace, foreign_workspace):
    """Every other transaction breaks off, in one way or another."""
    chance = Random(4)
    wrong = 0
    for turn in range(2_000):
        whose = chance.choice([workspace, foreign_workspace])
        try:
            with within(whose.pk):
                seen = list(Workspace.objects.values_list("pk", flat=True))
                wrong += seen != [whose.pk]
                if turn % 4 == 1:
                    raise ZeroDivisionError
                if turn % 4 == 3:
                    transaction.set_rollback(True)
        except ZeroDivisionError:
            pass
        if turn % 100 == 0:
            assert settings_now() == (False, "", "")
            assert Workspace.objects.count() == 2
    assert wrong == 0


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_said_before_holds_again_afterwards(workspace, foreign_workspace, fails):
    with within(workspace.pk):
        try:
            with within(foreign_workspace.pk):
                assert Workspace.objects.get() == foreign_workspace
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        assert Workspace.objects.get() == workspace
    assert settings_now() == (False, "", "")


@pytest.mark.django_db(transaction=True)
def test_a_transaction_in_which_a_statement_failed_is_not_taken_for_one_that_was_committed(workspace):
    @within(workspace.pk)
    def swallow():
        Workspace.objects.filter(pk=workspace.pk).update(name="lost")
        with suppress(ProgrammingError):
            count("no_such_table")

    with pytest.raises(DatabaseError, match="what came before it"):
        swallow()
    assert Workspace.objects.get().name == workspace.name


@pytest.mark.django_db(transaction=True)
def test_a_check_says_what_a_user_of_the_database_lacks(workspace):
    assert check_roles(databases=["default"]) == []
    with stranger():
        (lacking,) = check_roles(databases=["default"])
        assert (lacking.id, lacking.msg) == ("endpoints.E003", 'permission denied to set role "event_service_tenant".')
        assert f"GRANT {TENANT}, {TENANTS} TO" in lacking.hint
        with connection.cursor() as cursor:
            cursor.execute(f"RESET SESSION AUTHORIZATION; GRANT {TENANT}, {TENANTS} TO stranger")
            cursor.execute("SET SESSION AUTHORIZATION stranger")
        assert [message.id for message in check_roles(databases=["default"])] == ["endpoints.E004"]


@contextmanager
def stranger():
    """Be a user who owns nothing."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE stranger; SET SESSION AUTHORIZATION stranger")
        try:
            yield
        finally:
            cursor.execute("RESET SESSION AUTHORIZATION; DROP ROLE stranger")


# --- the doors


def test_every_operation_says_which_scope_it_needs():
    graphql = schema.graphql_schema
    fields = [*graphql.query_type.fields, *graphql.mutation_type.fields, *graphql.subscription_type.fields]
    listed = [operation for needed in operations.NEEDS.values() for operation in needed]
    assert sorted(listed) == sorted(fields)


def test_what_is_not_listed_nobody_may(graphql, monkeypatch):
    monkeypatch.delitem(operations.SCOPES, "endpoints")
    answer = graphql("{ endpoints { totalCount } workspace { name } }")
    assert answer["data"] == {"endpoints": None, "workspace": {"name": "Ours"}}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]


@pytest.mark.django_db(transaction=True)
def test_a_mutation_that_fails_late_leaves_nothing_and_the_next_one_stays(graphql, webhook, web_socket, monkeypatch):
    pause = PauseEndpoints.mutate

    def fail_late(root, info, ids):
        pause(root, info, ids)
        if ids == [str(webhook.pk)]:
            raise ZeroDivisionError
        return {"ok": True}

    monkeypatch.setattr(schema.graphql_schema.mutation_type.fields["pauseEndpoints"], "resolve", fail_late)
    each = [
        f'{name}: pauseEndpoints(ids: ["{id_.pk}"]) {{ ok }}' for name, id_ in {"a": webhook, "b": web_socket}.items()
    ]
    answer = graphql(f"mutation {{ {' '.join(each)} }}")
    assert answer["data"] == {"a": None, "b": {"ok": True}}
    assert dict(Endpoint.objects.values_list("pk", "state")) == {webhook.pk: "ACTIVE", web_socket.pk: "PAUSED"}
