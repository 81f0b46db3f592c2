"""Attempts by days: made ahead, dropped whole, and nothing that fits none is taken in silence."""

from datetime import timedelta

import psycopg
import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.utils import timezone

from endpoints.tenancy import TENANT, TENANTS, WORKSPACE, WORKSPACES, transaction_with
from routing import partitions
from routing.models import Attempt
from tests.traffic import of, record


def today():
    with connection.cursor() as cursor:
        cursor.execute("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")
        return cursor.fetchone()[0]


def sql(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


def attempt(workspace, endpoint):
    record(workspace)
    return Attempt.objects.create(
        workspace=workspace, delivery=of(endpoint).last(), number=1, started_at=timezone.now(), error="OTHER"
    )


@pytest.fixture
def made_again():
    yield
    partitions.make_ahead()


def test_there_are_partitions_for_today_and_the_days_to_come(db):
    ahead = [today() + timedelta(days=number) for number in range(partitions.AHEAD_DAYS + 1)]
    assert (partitions.days(), partitions.missing(ahead=partitions.AHEAD_DAYS)) == (ahead, [])

    sql(f"DROP TABLE {partitions.name_of(ahead[1])}")
    assert partitions.missing(ahead=2) == [ahead[1]]
    assert (partitions.make_ahead(), partitions.make_ahead()) == (1, 0)
    assert partitions.days() == ahead


def test_without_a_partition_an_attempt_is_refused_and_readyz_says_why(client, workspace, webhook):
    sql(f"DROP TABLE {partitions.name_of(today())}")

    with pytest.raises(IntegrityError, match="no partition of relation"), transaction.atomic():
        attempt(workspace, webhook)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert f"attempts of {today()} have no partition" in answer.json()["missing"][0]

    partitions.make_ahead()
    attempt(workspace, webhook)
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("role", [TENANT, TENANTS])
def test_nobody_reaches_a_partition_around_the_policies_of_its_table(workspace, webhook, role):
    attempt(workspace, webhook)

    settings = {WORKSPACE: str(workspace.pk), WORKSPACES: str(workspace.pk), "role": role}
    with transaction_with(settings):
        assert Attempt.objects.count() == 1
    with pytest.raises(ProgrammingError, match="permission denied"), transaction_with(settings):
        sql(f"SELECT * FROM {partitions.name_of(today())}")


@pytest.mark.django_db(transaction=True)
def test_a_partition_is_dropped_while_others_read_and_write_and_later_where_it_is_in_use(
    workspace, webhook, made_again, monkeypatch
):
    monkeypatch.setattr(partitions, "WAIT", "50ms")
    attempt(workspace, webhook)
    parameters = {**connection.get_connection_params(), "cursor_factory": psycopg.Cursor}
    with psycopg.connect(**parameters) as reading:
        reading.execute("SELECT count(*) FROM routing_attempt")
        assert partitions.drop(today()) is False  # it has left the table, but for this reader
        reading.execute("SELECT count(*) FROM routing_attempt")
        reading.rollback()
        reading.execute("SELECT pg_advisory_lock(%s)", [partitions._LOCK])
        reading.commit()
        assert partitions.drop(today()) is False  # another process is at it
    assert not Attempt.objects.exists()
    assert today() in partitions.days()

    assert partitions.drop(today()) is True
    assert today() not in partitions.days()
