"""What stands in the log: a line for each thing that happened, whatever strangers sent."""

import logging
import re
from io import StringIO

import pytest

from event_service.logs import Discreet

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+) [\w.]+: (.*)")
FORGED = "%0a2026-11-22 10:00:00,000 ERROR event_service: forged%1b[2J%e2%80%a8%c2%85"


@pytest.fixture
def log():
    """What the service writes, by the handler of its own settings."""
    (handler,) = (handler for handler in logging.getLogger().handlers if isinstance(handler.formatter, Discreet))
    written = StringIO()
    before = handler.setStream(written)
    yield written
    handler.setStream(before)


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


def test_what_breaks_here_is_an_error_with_its_traceback(client, log, monkeypatch):
    monkeypatch.setattr("event_service.health._missing", None)
    client.raise_request_exception = False
    assert client.get("/readyz").status_code == 500
    assert " ERROR django.request: " in log.getvalue()
    assert "Traceback" in log.getvalue()
