"""`manage.py listen` as people run it: a process that reaches the service by its websocket, and no database."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qsl, urlsplit

import psutil
import pytest
import requests
from standardwebhooks import Webhook

from routing import listening as listening_module
from routing.listening import MOST_REFUSALS, Event, Listener, delay_s, pause_s
from routing.management.commands.listen import HINT_GIVEN
from tests.receiver import Receiver, answer
from tests.service import ROOT, Service, wait_until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DEADLINE_S = 60
CREATE_SOCKET = 'mutation { createWebSocketEndpoint(name: "socket") { id } }'
CREATE_WEBHOOK = 'mutation ($url: String!) { createWebhookEndpoint(name: "webhook", url: $url) { id } }'
DELIVERIES = """
query ($endpoint: ID!) {
  deliveries(filters: {endpointId: {exact: $endpoint}}, order: {seq: ASC}, pagination: {limit: 200}) {
    collectionItems { eventId state attempts { error errorDetail } }
  }
}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def endpoint(service: Service) -> str:
    id_: str = service.graphql(CREATE_SOCKET)["createWebSocketEndpoint"]["id"]
    return id_


class Listening:
    """A running `manage.py listen`, and the lines that it wrote."""

    def __init__(self, process: "subprocess.Popen[str]", said: Path, told: Path) -> None:
        self.process, self._said, self._told = process, said, told

    @property
    def said(self) -> list[str]:
        return self._said.read_text().splitlines()

    @property
    def told(self) -> str:
        return self._told.read_text()

    def wait_until_told(self, text: str) -> str:
        return wait_until(lambda: self.told, lambda told: text in told)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(DEADLINE_S)


@pytest.fixture
def listen(service: Service, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start `manage.py listen` for a while: listen(endpoint, *options). Where it would look for a database is none."""
    started: list[subprocess.Popen[str]] = []

    @contextmanager
    def start(endpoint: str, *options: str, **environment: str) -> Iterator[Listening]:
        said, told = (tmp_path / f"{name}-{len(started)}" for name in ("said", "told"))
        where = ["--service", service.url.replace("http", "ws")]
        where += [] if environment else ["--key", service.key]
        nowhere = {"DATA_DIR": str(tmp_path), "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"}
        with said.open("w") as out, told.open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "listen", endpoint, *where, *options],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], **nowhere, **environment},
                stdout=out,
                stderr=err,
                text=True,
            )
        started.append(process)
        yield Listening(process, said, told)

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_what_is_secret_may_stand_in_the_environment(
    service: Service, endpoint: str, receiver: Receiver, listen: Any
) -> None:
    service.publish({"type": "invoice.paid"})
    secrets = {"EVENT_SERVICE_KEY": service.key, "EVENT_SERVICE_SECRET": SECRET}
    with listen(endpoint, "--forward-to", f"{receiver.url}/hook", **secrets) as listening:
        receiver.wait_for_count(1)
        shown = " ".join(psutil.Process(listening.process.pid).cmdline())
    (request,) = receiver.requests
    Webhook(SECRET).verify(request.body, dict(request.headers))
    assert [value for value in secrets.values() if value in shown + listening.told] == []


def deliveries(service: Service, endpoint: str) -> Any:
    return service.graphql(DELIVERIES, endpoint=endpoint)["deliveries"]["collectionItems"]


def wait_for_states(service: Service, endpoint: str, *states: str) -> Any:
    return wait_until(
        partial(deliveries, service, endpoint), lambda found: [row["state"] for row in found] == [*states]
    )


def ids(receiver: Receiver) -> list[str]:
    return [request.headers["webhook-id"] for request in receiver.requests]


def test_an_event_is_forwarded_as_the_webhook_is_sent_until_it_is_taken(
    service: Service, endpoint: str, receiver: Receiver, listen: Any
) -> None:
    webhook = service.graphql(CREATE_WEBHOOK, url=f"{receiver.url}/webhook")["createWebhookEndpoint"]["id"]
    data = '{"total": 1.00, "e": 1e2, "kind": "x", "cursor": 1, "name": "Zo\\u00eb \U0001f600", "twice": 1, "twice": 2}'
    sent = f'{{"type": "invoice.paid", "source": "shop", "subject": "a/1", "data": {data}}}'
    headers = {"Token": service.key, "content-type": "application/json"}
    published = requests.post(f"{service.url}/event-service/events", data=sent.encode(), headers=headers, timeout=30)
    (event,) = published.json()["events"]
    as_webhook = receiver.wait_for(lambda request: request.path == "/webhook")
    service.graphql("mutation ($id: ID!) { deleteEndpoints(ids: [$id]) { ok } }", id=webhook)
    receiver.requests.clear()
    receiver.answer = answer(401)

    with listen(endpoint, "--forward-to", f"{receiver.url}/hook", "--secret", SECRET) as listening:
        receiver.wait_for_count(2)
        receiver.answer = answer(200)
        (delivery,) = wait_for_states(service, endpoint, "DELIVERED")
        code = listening.stop()

    refused, *_, taken = receiver.requests
    assert taken.body == refused.body == as_webhook.body
    Webhook(SECRET).verify(taken.body, taken.headers)
    named = ("content-type", "user-agent", "webhook-id", "accept", "accept-encoding")
    assert [taken.headers[name] for name in named] == [as_webhook.headers[name] for name in named]
    assert (taken.method, taken.path) == ("POST", "/hook")
    details = [attempt["errorDetail"] for attempt in delivery["attempts"]]
    assert (details[0], details[-1], len(details)) == ("HTTP 401", "", len(receiver.requests))
    line = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00  {event['id']}  invoice.paid  "
    assert re.fullmatch(line + r"401  \d+ ms", listening.said[0])
    assert re.fullmatch(line + r"200  \d+ ms", listening.said[-1])
    assert (code, listening.told) == (0, f"Listening to {endpoint}\n{HINT_GIVEN}\nStopped.\n")


def test_what_is_refused_holds_up_what_comes_behind_it(
    service: Service, endpoint: str, receiver: Receiver, listen: Any
) -> None:
    published = [event["id"] for event in service.publish({"type": "a"}, {"type": "b"}, {"type": "c"}).json()["events"]]
    receiver.answer = answer(302, b"", "Location: /elsewhere")

    with listen(endpoint, "--forward-to", receiver.url):
        receiver.wait_for_count(2)
        receiver.answer = answer(204)
        wait_for_states(service, endpoint, "DELIVERED", "DELIVERED", "DELIVERED")

    assert [id_ for id_, _ in groupby(ids(receiver))] == published
    assert ids(receiver).count(published[0]) >= 3
    assert {request.path for request in receiver.requests} == {"/"}


def test_a_receiver_that_can_not_be_reached_is_a_refusal(service: Service, endpoint: str, listen: Any) -> None:
    with Receiver() as gone:
        url = f"{gone.url}/"
    service.publish({"type": "a"})

    with listen(endpoint, "--forward-to", url) as listening:
        found = wait_until(partial(deliveries, service, endpoint), lambda found: found[0]["attempts"] != [])

    assert (found[0]["state"], found[0]["attempts"][0]["error"]) == ("PENDING", "REFUSED")
    assert found[0]["attempts"][0]["errorDetail"] == f"{url} can't be reached."
    assert f"a  {url} can't be reached.  " in listening.said[0]


def test_nothing_is_missing_doubled_or_out_of_order_when_web_processes_are_killed(
    service: Service, endpoint: str, receiver: Receiver, listen: Any
) -> None:
    published: list[str] = []
    publisher = threading.Thread(target=publish_all, args=[service, published, 150])

    with listen(endpoint, "--forward-to", receiver.url) as listening:
        listening.wait_until_told("Listening")
        publisher.start()
        for count in (20, 60, 100):
            receiver.wait_for_count(count)
            service.kill("web")
        publisher.join()
        wait_for_states(service, endpoint, *["DELIVERED"] * 150)
        listening.stop()

    assert ids(receiver) == published
    assert listening.told.count("The connection ended (1006") >= 1


def publish_all(service: Service, published: list[str], count: int) -> None:
    """Publish one event after the other, each until it is accepted: its own id makes repeating safe."""
    for n in range(count):
        published += wait_until(partial(accepted, service, {"type": "load", "id": f"load-{n}", "data": n}), bool)


def accepted(service: Service, event: dict[str, Any]) -> list[str]:
    """Return the id that the event got, or nothing where it has to be published again."""
    try:
        answer = service.publish(event, timeout_s=5)
    except requests.RequestException:
        return []
    return [event["id"] for event in answer.json()["events"]] if answer.status_code == 202 else []


def test_it_comes_back_to_a_service_that_was_stopped(
    service: Service, endpoint: str, receiver: Receiver, listen: Any
) -> None:
    with listen(endpoint, "--forward-to", receiver.url) as listening:
        before = service.publish({"type": "before"}).json()["events"][0]["id"]
        receiver.wait_for_count(1)
        service.stop()
        listening.wait_until_told("The connection ended (1012")
        service.start()
        after = service.publish({"type": "after"}).json()["events"][0]["id"]
        wait_for_states(service, endpoint, "DELIVERED", "DELIVERED")

    assert ids(receiver) == [before, after]


def test_who_comes_back_does_not_say_that_it_took_what_it_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(
        listening_module, "connect", lambda url, **_: asked.append(dict(parse_qsl(urlsplit(url).query)))
    )
    reasons = iter(["", "not now", "", ""])
    listener = Listener("ws://service", asking={"endpoint_id": "e"}, key="", take=lambda _: next(reasons), tell=Mock())

    for seq in (1, 2, 3, 2):
        listener._connect()
        listener._obey(frame_of(seq), Mock())
    listener._connect()

    began, coming_back = {"endpoint_id": "e"}, {"endpoint_id": "e", "after": "3f9a01bc-1"}
    assert asked == [began, coming_back, began, began, {**began, "after": "3f9a01bc-3"}]


def test_who_began_at_a_time_comes_back_to_what_it_refused_and_takes_nothing_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(
        listening_module, "connect", lambda url, **_: asked.append(dict(parse_qsl(urlsplit(url).query)))
    )
    taken: list[str] = []

    def take(event: Event) -> str:
        taken.append(event.id)
        return "not now" if event.id == "2" and taken.count("2") == 1 else ""

    began = {"endpoint_id": "e", "from": "2026-01-01T00:00:00Z"}
    listener, socket = Listener("ws://service", asking=began, key="", take=take, tell=Mock()), Mock()
    for seqs in ((1, 2, 3), (2, 3, 4)):
        listener._connect()
        for seq in seqs:
            listener._obey(frame_of(seq), socket)

    assert asked == [began, {**began, "after": "3f9a01bc-1"}]
    assert taken == ["1", "2", "3", "2", "4"]
    said = [json.loads(call.args[0]) for call in socket.send.call_args_list]
    kinds = [(each["kind"], each["cursor"].rpartition("-")[2]) for each in said]
    assert kinds == [("ack", "1"), ("nack", "2"), ("ack", "3"), ("ack", "2"), ("ack", "3"), ("ack", "4")]


def test_what_was_refused_for_the_last_time_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(
        listening_module, "connect", lambda url, **_: asked.append(dict(parse_qsl(urlsplit(url).query)))
    )
    listener = Listener("ws://service", asking={"endpoint_id": "e"}, key="", take=lambda _: "never", tell=Mock())
    for _ in range(MOST_REFUSALS):
        listener._connect()
        listener._obey(frame_of(1), Mock())
    listener._connect()
    assert asked == [*[{"endpoint_id": "e"}] * MOST_REFUSALS, {"endpoint_id": "e", "after": "3f9a01bc-1"}]


def test_a_service_that_counts_anew_has_nothing_taken_that_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(
        listening_module, "connect", lambda url, **_: asked.append(dict(parse_qsl(urlsplit(url).query)))
    )
    taken: list[str] = []
    listener = Listener(
        "ws://service",
        asking={"endpoint_id": "e"},
        key="",
        take=lambda event: taken.append(event.cursor) or "not now" * (event.cursor == "3f9a01bc-2"),
        tell=Mock(),
    )
    for epoch in ("3f9a01bc", "00000000"):
        listener._connect()
        listener._obey(json.dumps({"kind": "ready", "cursor": f"{epoch}-0"}), Mock())
        for seq in (1, 2, 3):
            listener._obey(frame_of(seq).replace("3f9a01bc", epoch), Mock())
    listener._connect()
    assert taken == [f"{epoch}-{seq}" for epoch in ("3f9a01bc", "00000000") for seq in (1, 2, 3)]
    assert asked == [{"endpoint_id": "e"}, {"endpoint_id": "e"}, {"endpoint_id": "e", "after": "00000000-3"}]


def test_what_is_refused_is_not_passed_by_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(
        listening_module, "connect", lambda url, **_: asked.append(dict(parse_qsl(urlsplit(url).query)))
    )
    began = {"endpoint_id": "e", "from": "2026-01-01T00:00:00Z"}
    reasons = iter(["", "not now", ""])
    listener = Listener("ws://service", asking=began, key="", take=lambda _: next(reasons), tell=Mock())
    for seq in (1, 2):
        listener._obey(frame_of(seq), Mock())
    missing = {"after": "3f9a01bc-2", "until": "3f9a01bc-9"}
    reset = {"kind": "reset", "reason": "HISTORY_GONE", "missing": missing, "cursor": "3f9a01bc-9"}
    listener._obey(json.dumps(reset), Mock())
    listener._connect()
    listener._obey(frame_of(2), Mock())
    listener._connect()
    assert [each["after"] for each in asked] == ["3f9a01bc-1", "3f9a01bc-9"]


def frame_of(seq: int) -> str:
    return json.dumps({"kind": "event", "id": f"{seq}", "type": "t", "cursor": f"3f9a01bc-{seq}"})


def test_without_a_url_it_prints_bodies_and_nothing_else_where_they_can_be_piped_on(
    service: Service, endpoint: str, listen: Any
) -> None:
    (event,) = service.publish({"type": "seen", "date": "2026-11-22T10:00:00Z", "data": {"n": 1}}).json()["events"]

    with listen(endpoint) as listening:
        wait_for_states(service, endpoint, "DELIVERED")
        wait_until(lambda: listening.said, lambda said: len(said) == 1)

    assert listening.said == [
        f'{{"id":"{event["id"]}","type":"seen","date":"2026-11-22T10:00:00.000000+00:00",'
        f'"workspaceId":"{service.workspace_id}","data":{{"n": 1}}}}'
    ]


def test_the_client_of_the_readme_acknowledges_what_it_has_worked_on(
    service: Service, endpoint: str, tmp_path: Path
) -> None:
    (program,) = re.findall(r"```python\n(import json\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    program = program.replace("ws://127.0.0.1:8000", service.url.replace("http", "ws"))
    program = program.replace("endpoint_id=ID", f"endpoint_id={endpoint}").replace("es_live_...", service.key)
    service.publish({"type": "invoice.paid", "data": {"total": 1}})
    with (tmp_path / "said").open("w") as out:
        process = subprocess.Popen([sys.executable, "-u", "-c", program], stdout=out)
        try:
            (delivery,) = wait_for_states(service, endpoint, "DELIVERED")
        finally:
            process.kill()
            process.wait()
    assert (tmp_path / "said").read_text() == "invoice.paid {'total': 1}\n"
    assert delivery["attempts"] == [{"error": "", "errorDetail": ""}]


def test_from_begins_at_a_time_whatever_was_delivered(service: Service, endpoint: str, listen: Any) -> None:
    service.publish({"type": "first"}, {"type": "second"})
    for _ in range(2):
        with listen(endpoint, "--from", "2026-01-01T00:00:00Z") as listening:
            wait_until(lambda listening=listening: len(listening.said), lambda count: count == 2)
            wait_for_states(service, endpoint, "DELIVERED", "DELIVERED")
            listening.stop()


def test_those_that_share_divide_the_events(service: Service, endpoint: str, listen: Any) -> None:
    share = ["--share", "team"]
    with listen(endpoint, *share) as one, listen(endpoint, *share) as other:
        one.wait_until_told("Listening")
        other.wait_until_told("Listening")
        service.publish(*({"type": f"t{n}"} for n in range(20)))
        wait_for_states(service, endpoint, *["DELIVERED"] * 20)
        said = wait_until(lambda: one.said + other.said, lambda said: len(said) >= 20)

    assert len(set(said)) == len(said) == 20


def test_a_reset_is_told(service: Service, endpoint: str, listen: Any) -> None:
    service.publish({"type": "before"})
    with listen(endpoint) as listening:
        wait_for_states(service, endpoint, "DELIVERED")
        service.manage("dbshell", "--", "-c", "UPDATE routing_cursor SET epoch = gen_random_uuid()")
        told = listening.wait_until_told("EPOCH_CHANGED")
        service.publish({"type": "after"})
        wait_for_states(service, endpoint, "DELIVERED", "DELIVERED")

    assert re.search(r"Events behind \w+-1 can't be had \(EPOCH_CHANGED\); going on behind \w+-1\.", told)
    assert len(listening.said) == 2


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--key", "es_live_wrong"], "The service closed the connection with 1008: "),
        (
            ["--key", ""],
            "The service closed the connection with 1008: No key: send 'Authorization: Bearer KEY', 'Token: KEY' or "
            "protocol event-service.key.KEY. No key was given: see --key.",
        ),
        (
            ["--service", "http://127.0.0.1"],
            "--service is 'http://127.0.0.1'; write ws://HOST:PORT or wss://HOST:PORT.",
        ),
        (["--service", "ws://127.0.0.1:1"], "ws://127.0.0.1:1 can't be reached: "),
        (["--forward-to", "localhost:3000"], "--forward-to: url 'localhost:3000' is not http:// or https://"),
        (["--forward-to", "http://localhost:1/", "--secret", "mine"], "--secret: secret does not begin with whsec_; "),
        (["--from", "yesterday"], "The service closed the connection with 1008: from is 'yesterday'; "),
    ],
)
def test_what_can_not_work_ends_at_once_with_what_would(
    endpoint: str, listen: Any, options: list[str], problem: str
) -> None:
    with listen(endpoint, *options) as listening:
        assert listening.process.wait(DEADLINE_S) == 1

    assert f"CommandError: {problem}" in listening.told


def test_pauses_and_delays_grow_up_to_a_bound() -> None:
    assert [delay_s(count) for count in (1, 2, 3, 6, 7, 99)] == [1, 2, 4, 32, 60, 60]
    pauses = [pause_s(count) for count in (1, 2, 5, 99)]
    assert [0.25 <= pauses[0] <= 0.5, 0.5 <= pauses[1] <= 1, 4 <= pauses[2] <= 8, 15 <= pauses[3] <= 30] == [True] * 4
