"""Attempts by days: made ahead, dropped whole, and nothing that fits none is taken in silence."""

import time
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, ProgrammingError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from endpoints.models import Endpoint
from endpoints.tenancy import TENANT, TENANTS, WORKSPACE, WORKSPACES, transaction_with
from routing import doctor, partitions, queue
from routing.models import Attempt, Delivery
from routing.queue import Result, claim
from routing.sockets import settling
from routing.sockets.settling import Report
from routing.worker import Worker
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


def claimed(workspace, endpoint):
    record(workspace)
    (job,) = claim(limit=1, per_endpoint=1, rooms={})
    return [Result(job, "DELIVERED", started_at=timezone.now(), duration_ms=1)]


def lost(workspace, endpoint):
    claimed(workspace, endpoint)
    of(endpoint).update(due_at=Now() - timedelta(days=4))


def unread(workspace, endpoint):
    endpoint = Endpoint.create_web_socket(workspace_id=workspace.pk, name="Socket")
    record(workspace)
    return [Report([of(endpoint).get().pk], timezone.now(), 1, "")]


def ordered(workspace, endpoint):
    """Return a result that takes several statements to settle: a transaction that the test's own survives."""
    (result,) = claimed(workspace, endpoint)
    return [replace(result, job=result.job._replace(ordering_key="a"))]


WRITERS = {
    "settle": (ordered, queue.settle),
    "reap": (lost, lambda _: queue.reap()),
    "a socket": (unread, settling.settle),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_who_writes_the_first_attempt_of_a_day_that_nobody_made_makes_it_and_nothing_is_lost(
    workspace, webhook, writer, monkeypatch
):
    owe, write = WRITERS[writer]
    owed = owe(workspace, webhook)
    sql(f"DROP TABLE {partitions.name_of(today())}")
    with monkeypatch.context() as busy:
        busy.setattr(partitions, "make_ahead", lambda: 0)
        with pytest.raises(OperationalError, match="could not be made at once"):  # as where the database is gone
            write(owed)
    assert set(Delivery.objects.values_list("settled_at", flat=True)) == {None}

    write(owed)

    assert list(Attempt.objects.values_list("number", flat=True)) == [1]
    assert partitions.missing(ahead=partitions.AHEAD_DAYS) == []


def test_no_other_refusal_is_taken_for_a_day_that_is_missing(workspace, webhook, monkeypatch):
    monkeypatch.setattr(partitions, "make_ahead", lambda: pytest.fail("it was taken for that"))
    results = claimed(workspace, webhook)

    with pytest.raises(IntegrityError, match="delivery_end_has_reason"):
        queue.settle([replace(results[0], state="EXHAUSTED")])


def test_the_doctor_says_that_no_worker_makes_days_ahead(db):
    def said():
        return [(finding.level, finding.what.partition(":")[0]) for finding in doctor.partitions_ahead()]

    assert said() == []
    sql(f"DROP TABLE {partitions.name_of(today() + timedelta(days=2))}")
    assert said() == [("WARNING", f"Attempts of {today() + timedelta(days=2)} have no partition")]
    sql(f"DROP TABLE {partitions.name_of(today())}")
    assert said()[0][0] == "ERROR"


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


@pytest.fixture
def another_schema():
    sql("CREATE SCHEMA another; SET search_path = another, public")
    yield
    sql("RESET search_path; DROP SCHEMA another CASCADE")


@pytest.mark.django_db(transaction=True)
def test_partitions_are_where_their_table_is_though_another_schema_comes_first(made_again, another_schema):
    before = partitions.days()

    assert (partitions.drop(before[-1]), partitions.days()) == (True, before[:-1])
    assert (partitions.make_ahead(), partitions.days()) == (1, before)


@pytest.mark.django_db(transaction=True)
def test_the_doctor_looks_where_the_tables_are_though_another_schema_comes_first(another_schema):
    sql("ALTER TABLE routing_event DISABLE ROW LEVEL SECURITY")
    try:
        assert ["routing_event" in finding.what for finding in doctor.row_security()] == [True]
    finally:
        sql("ALTER TABLE routing_event ENABLE ROW LEVEL SECURITY")


def test_what_a_backup_held_as_leased_is_made_due_though_it_lacks_todays_partition(workspace, webhook):
    record(workspace)
    delivery = of(webhook).last()
    ended = timezone.now() - timedelta(days=9)
    Delivery.objects.filter(pk=delivery.pk).update(state="SENDING", due_at=ended, lease_token=uuid7(), attempts_made=1)
    sql(f"DROP TABLE {partitions.name_of(today())}")

    Worker(threads=0)._poll(time.monotonic())

    assert Attempt.objects.get(delivery=delivery).error == "WORKER_LOST"
