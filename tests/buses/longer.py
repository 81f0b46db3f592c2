"""What events from a bus survive, with each of the servers: script/buses. Not collected by script/test."""

import asyncio
import json
import random
import subprocess
import sys
from contextlib import contextmanager

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from routing.models import Delivery, Event, IdempotencyRecord
from tests.buses.servers import WHERE, NatsServer, RabbitServer, Sent
from tests.database import environment
from tests.service import wait_until

EVENTS = 2_000
KILLS = 6
SEED = 20_261_126
# Runs manage.py with the chaos suite's kill points, which it else has beside a database of its own alone.
BOOT = """
import pathlib, sys
from django.conf import settings
from django.core.management import execute_from_command_line
settings.FAILPOINTS = pathlib.Path(sys.argv.pop(1))
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""
ACK_WAIT_S = 5  # rather than a minute, after which JetStream brings again what a dead process had


@pytest.fixture(params=[NatsServer, RabbitServer], ids=["nats", "rabbitmq"])
def bus(request, tmp_path):
    with request.param(tmp_path / "bus") as server:
        if request.param is NatsServer:
            asyncio.run(_make_consumer(server))
        yield server


async def _make_consumer(server):
    async with await server._client() as client:
        wanted = {"durable_name": "event-service", "ack_policy": "explicit", "ack_wait": ACK_WAIT_S}
        await client.jetstream().add_consumer(WHERE, **wanted)


class Consuming:
    def __init__(self, bus, folder, *options):
        self._log, self._points = folder / "log", folder / "points"
        self._points.mkdir(exist_ok=True)
        options = ["--workspace", "Ours", bus.option, WHERE, "--json", *options]
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", BOOT, self._points, "consume", *options],
                cwd=settings.BASE_DIR,
                env={
                    **environment(),
                    "EVENT_SERVICE_BUS_URL": bus.url,
                    "DJANGO_SETTINGS_MODULE": "event_service.settings",
                },
                text=True,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def log(self):
        return self._log.read_text()

    def kill(self):
        self.process.kill()
        self.process.communicate(timeout=60)

    def die_between_commit_and_answer(self):
        (self._points / "K2").write_text("SIGKILL")
        self.process.communicate(timeout=60)

    def stop(self):
        self.process.terminate()
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.log()
        return json.loads(said)


@pytest.fixture
def consume(bus, tmp_path):
    started = []

    def start(*options):
        started.append(Consuming(bus, tmp_path, *options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.kill()


def events(count, name="event"):
    return [Sent(b'{"type": "order.paid", "data": %d}' % number, id=f"{name}-{number}") for number in range(count)]


def recorded(count):
    wait_until(Event.objects.count, lambda found: found >= count, within_s=120)


def assert_each_once(count):
    assert Event.objects.count() == IdempotencyRecord.objects.count() == Delivery.objects.count() == count
    assert sorted(map(int, Event.objects.values_list("data", flat=True))) == list(range(count))


def test_each_event_is_taken_once_while_processes_are_killed(transactional_db, webhook, bus, consume):
    chance = random.Random(SEED)
    bus.publish(events(EVENTS))
    for number in range(KILLS):
        process = consume("--batch", "50")
        recorded(EVENTS * number // (KILLS + 1) + chance.randrange(1, EVENTS // (KILLS + 1)))
        process.kill() if number % 2 == 0 else process.die_between_commit_and_answer()
    before = Event.objects.count()
    last = consume()
    wait_until(lambda: Event.objects.count() == EVENTS and bus.left() == 0, bool, within_s=120)
    counts = last.stop()
    print(f"{bus.program}: {KILLS} killed; {before} were recorded before the last process, which counted {counts}")
    assert bus.left() == 0
    assert_each_once(EVENTS)
    assert before + counts["taken"] == EVENTS
    # What the last one that died in between had committed and not answered, and perhaps what those before it had:
    # JetStream waits before it brings something again.
    assert counts["repeated"] in range(50, 50 * KILLS, 50)


def test_two_processes_share_the_messages(transactional_db, webhook, bus, consume):
    processes = [consume("--batch", "20") for _ in range(2)]
    wait_until(processes[0].log, lambda log: log.count("Taking events") == 2)
    bus.publish(events(EVENTS))
    wait_until(lambda: Event.objects.count() == EVENTS and bus.left() == 0, bool)
    counts = [process.stop() for process in processes]
    print(f"{bus.program}: {counts}")
    assert [min(1, each["taken"]) for each in counts] == [1, 1]
    assert sum(each["taken"] for each in counts) == EVENTS
    assert_each_once(EVENTS)


def test_bad_messages_are_refused_once_and_the_others_go_on(transactional_db, webhook, bus, consume):
    process = consume()
    cloud = {"specversion": "1.0", "id": "é 1", "source": "/shop", "type": "order.paid"}
    bus.publish([Sent(b"0", "application/json", cloud), Sent(b"no event"), *events(2)[1:], Sent(b"<a/>", "text/xml")])
    wait_until(process.log, lambda log: log.count("is refused") == 2)
    wait_until(lambda: (Event.objects.count(), bus.left()), lambda found: found == (2, 0))
    if isinstance(bus, RabbitServer):
        wait_until(bus.refused, lambda found: found == 2)
    assert process.stop() == {"taken": 2, "repeated": 0, "refused": 2}
    assert bus.left() == 0
    assert_each_once(2)
    assert "guest:guest" not in process.log()
    assert "pass-word" not in process.log()


def test_nothing_is_lost_while_the_database_is_gone(transactional_db, webhook, bus, consume):
    process = consume("--batch", "50")
    bus.publish(events(200))
    recorded(1)
    with database_gone():
        bus.publish(events(400)[200:])
        wait_until(process.log, lambda log: log.count("wait for the database") >= 2)
    wait_until(lambda: Event.objects.count() == 400 and bus.left() == 0, bool, within_s=120)
    counts = process.stop()
    print(f"{bus.program}: {counts}")
    assert_each_once(400)


@contextmanager
def database_gone():
    """Let nobody in, and end all connections but the test's own."""
    found = connection.get_connection_params()
    name = found["dbname"]
    with psycopg.connect(host=found["host"], user=found.get("user"), dbname="postgres", autocommit=True) as operator:
        operator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
            [name, connection.connection.info.backend_pid],
        )
        try:
            yield
        finally:
            operator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_it_comes_back_when_the_bus_does(transactional_db, webhook, bus, consume):
    process = consume()
    bus.publish(events(100))
    recorded(100)
    bus.stop()
    wait_until(process.log, lambda log: log.count("is away") >= 2)
    bus.start()
    bus.publish(events(200)[100:])
    wait_until(lambda: Event.objects.count() == 200 and bus.left() == 0, bool)
    process.stop()
    assert_each_once(200)


def test_it_comes_back_when_its_queue_was_deleted_and_ends_without_its_consumer(
    transactional_db, webhook, bus, consume
):
    process = consume()
    bus.publish(events(10))
    recorded(10)
    bus.forget()
    wait_until(process.log, lambda log: "is away" in log)
    if bus.option == NatsServer.option:
        process.process.communicate(timeout=60)
        assert (process.process.returncode, "is gone" in process.log()) == (1, True)
        process = consume()
    bus.publish(events(20)[10:])
    recorded(20)
    process.stop()
    assert_each_once(20)
