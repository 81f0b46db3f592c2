"""What stands in the log: a line for each thing that happened, whatever strangers sent."""

import json
import logging
import re
from io import StringIO

import pytest

from endpoints.about import about
from endpoints.keys import SHOWN
from endpoints.models import Endpoint
from event_service.logs import Discreet, Structured
from routing.queue import claim
from routing.worker import Worker
from tests.traffic import record

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+) [\w.]+: (.*)")
FORGED = "%0a2026-11-22 10:00:00,000 ERROR event_service: forged%1b[2J%e2%80%a8%c2%85"


@pytest.fixture
def log(monkeypatch):
    """What the service writes, by the handler of its own settings."""
    (handler,) = (handler for handler in logging.getLogger().handlers if isinstance(handler.formatter, Discreet))
    written = StringIO()
    monkeypatch.setattr(handler, "stream", written)  # the one before may be that of a test that is over
    return written


def lines(log):
    """Return the level and the message of each line; a line that is none of ours fails."""
    return [LINE.fullmatch(line).groups() for line in log.getvalue().splitlines()]


# Found by script/fuzz: each was an error with a traceback, and of the first the client wrote lines.
@pytest.mark.parametrize(
    "query",
    [f"_popup=1&_to_field={FORGED}", "workspace__name__isnull=1"],
)
def test_a_request_that_is_refused_is_a_line_and_no_alarm(admin_client, log, query):
    assert admin_client.get(f"/admin/endpoints/endpoint/?{query}").status_code == 400
    assert [level for level, _ in lines(log)] == ["WARNING"]


def test_nor_is_a_form_with_too_many_fields_from_anybody(client, log):
    answer = client.post("/admin/login/", {f"a{number}": "" for number in range(1_001)})
    assert (answer.status_code, [level for level, _ in lines(log)]) == (400, ["WARNING"])


def test_nor_is_a_page_that_somebody_may_not_see(client, django_user_model, log):
    client.force_login(django_user_model.objects.create_user("looker", is_staff=True))
    assert client.get("/admin/endpoints/endpoint/").status_code == 403
    assert [level for level, _ in lines(log) if level != "INFO"] == ["WARNING"]  # the others tell who signed in


def test_a_query_that_is_refused_is_told_with_its_error_and_whose_it_was(client, key, log):
    for headers in ({"Token": key}, {"Token": "es_live_wrong"}):
        client.post("/event-service/graphql", {"query": "{ no }"}, "application/json", headers=headers)
    client.post("/event-service/graphql", "{", "application/json", headers={"Token": key})

    where = "Bad Request: /event-service/graphql"
    assert [message for _, message in lines(log)] == [
        f"{where} (BAD_USER_INPUT, key {key[:SHOWN]}...)",
        f"{where} (BAD_USER_INPUT)",  # a key that is none
        f"{where} (BAD_USER_INPUT)",  # one that was not looked at yet
    ]


def test_who_signs_in_is_one_line_of_axes(client, django_user_model, log):
    client.force_login(django_user_model.objects.create_user("looker"))
    (line,) = lines(log)
    assert line[1].startswith("AXES: Successful login by 'looker', from ")


def test_who_fails_to_is_one_line_with_the_address_and_never_a_password(client, django_user_model, log):
    django_user_model.objects.create_user("looker", password="right", is_staff=True)
    for username, password in (("looker", "wrong"), ("right", ""), ("right", "wrong"), ("looker", "right")):
        form = {"username": username, "password": password}
        client.post("/admin/login/", form, REMOTE_ADDR="192.0.2.7")

    where = "from 192.0.2.7, at /admin/login/"
    told = [(level, re.sub(r"\. (Created|Updated).*", "", message)) for level, message in lines(log)]
    assert told == [
        ("WARNING", f"AXES: New login failure by 'looker', {where}"),
        ("WARNING", f"AXES: New login failure by a name that nobody has, {where}"),
        ("INFO", f"AXES: Successful login by 'looker', {where}."),
    ]
    assert "right" not in log.getvalue()


def test_what_breaks_here_is_an_error_with_its_traceback(client, log, monkeypatch):
    monkeypatch.setattr("event_service.health._missing", None)
    client.raise_request_exception = False
    assert client.get("/readyz").status_code == 500
    assert " ERROR django.request: " in log.getvalue()
    assert "Traceback" in log.getvalue()


# --- as JSON


@pytest.fixture
def structured(log):
    """The same, an object a line."""
    (handler,) = (handler for handler in logging.getLogger().handlers if isinstance(handler.formatter, Discreet))
    before = handler.formatter
    handler.setFormatter(Structured())
    yield lambda: [json.loads(line) for line in log.getvalue().splitlines()]
    handler.setFormatter(before)


def test_an_entry_is_an_object_whatever_strangers_wrote_and_says_what_broke(structured):
    with about(workspace_id="w"), about(delivery_id="d"):
        try:
            raise ValueError("broken")
        except ValueError:
            logging.getLogger("routing").exception("Odd: %s", "\n{\x1b\u2028")
    logging.getLogger("routing").info("after")
    (entry, after) = structured()
    assert entry.pop("exception").endswith("ValueError: broken")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", entry.pop("time"))
    assert entry == {
        "level": "ERROR",
        "logger": "routing",
        "message": "Odd: \n{\x1b\u2028",
        "workspace_id": "w",
        "delivery_id": "d",
    }
    assert set(after) == {"time", "level", "logger", "message"}


def test_what_is_logged_of_an_attempt_names_all_that_it_is_about(workspace, structured):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    refused = Endpoint.create_webhook(workspace_id=workspace.pk, name="hook", url="https://10.0.0.1/")
    (event_id,) = record(workspace, traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    (job,) = claim(limit=1, per_endpoint=1, rooms={})
    worker = Worker(threads=1)
    worker._clock.set(job.claimed_at)
    worker._send(job)
    (entry,) = (entry for entry in structured() if entry["logger"] == "routing.webhooks")
    assert {name: value for name, value in entry.items() if name.endswith("id") or name == "attempt"} == {
        "workspace_id": str(workspace.pk),
        "event_id": str(event_id),
        "delivery_id": str(job.delivery_id),
        "endpoint_id": str(refused.pk),
        "attempt": 1,
        "trace_id": trace,
    }
