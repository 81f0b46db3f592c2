"""The outbox in another Django project: its own processes and database, and the real service at EVENT_SERVICE_URL.

tests/clients/test_outbox.py of the service runs this, with SQLite and with PostgreSQL.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client as Browser
from django.utils import timezone

from event_service_client import Client, RawJson, Unavailable
from event_service_client.django.forwarder import PAUSES_S, Forwarded, Forwarder
from event_service_client.django.models import OutboxEvent, State
from event_service_client.django.outbox import publish
from shop.models import Order

URL, KEY = os.environ["EVENT_SERVICE_URL"], os.environ["EVENT_SERVICE_KEY"]
EVENTS = """
query ($type: String!) {
  events(filters: {type: {exact: $type}}, order: {creation_date: ASC}, pagination: {limit: 200}) {
    collectionItems { subject orderingKey dataText extensions }
  }
}
"""
pytestmark = pytest.mark.django_db(transaction=True)


class Relay(ThreadingHTTPServer):
    """Stands between the forwarder and the service. `before` and `after` are called around each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Relaying)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.before: Callable[[], Any] = lambda: None
        self.after: Callable[[], Any] = lambda: None

    def handle_error(self, *_: Any) -> None:
        """Who was killed takes no answer."""


class _Relaying(BaseHTTPRequestHandler):
    server: Relay

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.before()
        headers = {name: self.headers[name] for name in ("authorization", "content-type")}
        answer = httpx.post(URL + self.path, content=body, headers=headers)
        self.server.after()
        self.send_response(answer.status_code)
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay() as relay:
        threading.Thread(target=relay.serve_forever, args=[0.02], daemon=True).start()
        yield relay
        relay.shutdown()


@contextmanager
def forwarding(url: str = URL, batch: int = 500) -> Iterator[Forwarder]:
    with Client(url, KEY, tries=1) as client:
        yield Forwarder(client, batch=batch)


def forward_all(url: str = URL) -> Forwarded:
    total = Forwarded()
    with forwarding(url) as forwarder:
        while (done := forwarder.forward()) != Forwarded():
            total += done
    return total


def in_the_service(type_: str) -> list[dict[str, Any]]:
    body = {"query": EVENTS, "variables": {"type": type_}}
    answer = httpx.post(f"{URL}/event-service/graphql", json=body, headers={"Authorization": f"Bearer {KEY}"}).json()
    found: list[dict[str, Any]] = answer["data"]["events"]["collectionItems"]
    return found


def make_due() -> None:
    """Let leases and pauses end now rather than in a minute."""
    OutboxEvent.objects.filter(state=State.WAITING).update(due_at=timezone.now() - timedelta(seconds=1))


def test_an_event_shares_the_fate_of_its_transaction() -> None:
    order = Order.place("ada", Decimal("24.90"))
    with transaction.atomic():
        Order.place("bob", Decimal(1))
        transaction.set_rollback(True)

    assert forward_all() == Forwarded(sent=1)
    assert in_the_service("order.placed") == [
        {
            "subject": f"order/{order.pk}",
            "orderingKey": "ada",
            "dataText": f'{{"order":{order.pk},"total":"24.90"}}',
            "extensions": None,
        }
    ]
    assert OutboxEvent.objects.count() == 0


def test_what_makes_no_sense_is_told_to_who_publishes() -> None:
    with pytest.raises(transaction.TransactionManagementError, match=r"publish\('a'\) was called outside of"):
        publish("a")
    with transaction.atomic():
        with pytest.raises(ValueError, match="type is ''"):
            publish("")
        with pytest.raises(ValueError, match=r"data <object .* can't be written as JSON"):
            publish("a", object())
    assert OutboxEvent.objects.count() == 0


def test_extensions_go_with_the_event_and_are_checked_where_they_are_given() -> None:
    with transaction.atomic():
        publish("extended", extensions={"tenant": "x", "rate": 7})
        with pytest.raises(ValueError, match=r"extensions has 'x': 1\.5"):
            publish("extended", extensions={"x": 1.5})  # type: ignore[dict-item]

    assert forward_all() == Forwarded(sent=1)
    assert [event["extensions"] for event in in_the_service("extended")] == [{"tenant": "x", "rate": 7}]


def test_rows_that_nobody_holds_any_more_are_sent_again_and_stored_once(relay: Relay) -> None:
    """As where a lease ended on the wire, and the forwarder that had the rows next gave them back."""
    with transaction.atomic():
        publish("given.back", 1)

    def give_back() -> None:
        OutboxEvent.objects.update(claim=None, due_at=timezone.now())
        connection.close()

    relay.after = give_back
    with forwarding(relay.url) as forwarder:
        forwarder.forward()
    assert OutboxEvent.objects.values_list("claim", "refusals").get() == (None, 0)

    assert forward_all() == Forwarded(sent=1)
    assert [event["dataText"] for event in in_the_service("given.back")] == ["1"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_forwarder_that_is_killed_loses_nothing_and_doubles_nothing(relay: Relay, moment: str) -> None:
    """Killed when the service has seen one request of three and is about to store, or has stored, the second."""
    kind = f"killed.{moment}"
    with transaction.atomic():
        for number in range(90):
            publish(kind, number)
    command = [sys.executable, "-m", "django", "forward_events", "--batch", "30"]
    database = (
        os.environ["SHOP_DATABASE"].rpartition("/")[0] + "/" + str(connection.settings_dict["NAME"]).rpartition("/")[2]
    )
    environment = {**os.environ, "EVENT_SERVICE_URL": relay.url, "SHOP_DATABASE": database}
    requests: list[int] = []
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def kill_at_the_second() -> None:
        requests.append(len(requests))
        if len(requests) == 2:
            process.kill()
            process.wait()

    setattr(relay, moment, kill_at_the_second)
    assert process.wait(60) == -9
    left = OutboxEvent.objects.count()
    assert (left, forward_all()) == (60, Forwarded(sent=30))  # what it had claimed is its own for a minute
    make_due()
    assert forward_all() == Forwarded(sent=30)

    assert sorted(int(event["dataText"]) for event in in_the_service(kind)) == list(range(90))
    assert OutboxEvent.objects.count() == 0


def test_a_key_waits_for_its_refused_event_until_that_is_set_aside(admin_client: Browser) -> None:
    with transaction.atomic():
        publish("kept", RawJson('"\\u0000"'), ordering_key="a", subject="poison")  # the service refuses it
        publish("kept", 2, ordering_key="a")
        publish("kept", 3, ordering_key="a")
        publish("kept", 4, ordering_key="b")
    for refusals in range(1, len(PAUSES_S) + 1):
        assert forward_all() == Forwarded(sent=int(refusals == 1), refused=1)
        waiting = OutboxEvent.objects.get(subject="poison")
        assert (waiting.refusals, waiting.due_at > timezone.now()) == (refusals, True)
        assert [event["dataText"] for event in in_the_service("kept")] == ["4"]
        make_due()
    assert forward_all() == Forwarded(sent=2, refused=1)

    assert [event["dataText"] for event in in_the_service("kept")] == ["4", "2", "3"]
    poison = OutboxEvent.objects.get()
    assert (poison.state, poison.problem[:32]) == ("SET_ASIDE", "BAD_USER_INPUT: data holds the c")
    url = "/admin/event_service_outbox/outboxevent/"
    assert "BAD_USER_INPUT: data holds" in admin_client.get(url).content.decode()
    assert "poison" in admin_client.get(f"{url}{poison.pk}/change/").content.decode()
    admin_client.post(url, {"action": "send_again", "_selected_action": [poison.pk]})
    assert OutboxEvent.objects.values_list("state", "refusals").get() == ("WAITING", 0)


def test_looking_is_not_sending_again() -> None:
    with transaction.atomic():
        publish("seen")
    OutboxEvent.objects.update(state=State.SET_ASIDE)
    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_outboxevent"))
    browser = Browser()
    browser.force_login(reader)
    url = "/admin/event_service_outbox/outboxevent/"
    page = browser.get(url).content.decode()
    browser.post(url, {"action": "send_again", "_selected_action": [OutboxEvent.objects.get().pk]})

    assert ("seen" in page, OutboxEvent.objects.get().state) == (True, "SET_ASIDE")


def test_nothing_is_counted_against_events_while_the_service_is_away() -> None:
    with transaction.atomic():
        publish("late")
    with forwarding("http://127.0.0.1:1") as forwarder, pytest.raises(Unavailable, match="can't be reached"):
        forwarder.forward()
    assert OutboxEvent.objects.values_list("refusals", "claim").get() == (0, None)

    assert forward_all() == Forwarded(sent=1)


def test_two_at_once_share_the_work_and_send_each_event_once(relay: Relay) -> None:
    """The second claims while the first is on the wire."""
    with transaction.atomic():
        for number in range(20):
            publish("shared", number)
        publish("shared", 20, ordering_key="k")
        publish("shared", 21, ordering_key="k")
    counts: list[int] = []

    def claim_meanwhile() -> None:
        relay.before = lambda: None
        counts.append(forward_all().sent)
        connection.close()

    relay.before = claim_meanwhile
    with forwarding(relay.url, batch=10) as forwarder:
        first = forwarder.forward()

    assert (first.sent, counts) == (10, [12])
    events = in_the_service("shared")
    assert sorted(int(event["dataText"]) for event in events) == list(range(22))
    assert [event["dataText"] for event in events if event["orderingKey"] == "k"] == ["20", "21"]


def test_an_event_behind_one_that_is_on_the_wire_waits(relay: Relay) -> None:
    with transaction.atomic():
        publish("ordered", 1, ordering_key="k")
        publish("ordered", 2, ordering_key="k")
    meanwhile: list[Forwarded] = []

    def forward_meanwhile() -> None:
        meanwhile.append(forward_all())
        connection.close()

    relay.before = forward_meanwhile
    with forwarding(relay.url) as forwarder:
        first = forwarder.forward()

    assert (first, meanwhile) == (Forwarded(sent=1), [Forwarded()])


def test_the_command_ends_with_what_is_wrong(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with transaction.atomic():
        publish("command")
    wrong = [
        ({"EVENT_SERVICE_URL": ""}, "The settings EVENT_SERVICE_URL and EVENT_SERVICE_KEY: url is ''; give"),
        ({"EVENT_SERVICE_URL": "http://127.0.0.1:1"}, "can't be reached: .* What is left in the outbox stays there"),
        ({"EVENT_SERVICE_KEY": "es_live_wrong"}, "answered 401: .* Look at EVENT_SERVICE_URL and EVENT_SERVICE_KEY"),
    ]
    for changed, problem in wrong:
        settings.EVENT_SERVICE_URL, settings.EVENT_SERVICE_KEY = URL, KEY
        for name, value in changed.items():
            setattr(settings, name, value)
        with pytest.raises(CommandError, match=problem):
            call_command("forward_events", once=True)
    settings.EVENT_SERVICE_KEY = KEY
    call_command("forward_events", once=True)

    assert capsys.readouterr().out == "1 sent, 0 refused.\n"


def test_the_migrations_are_what_the_models_say() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
