"""`manage.py doctor`: what it finds in a deployment, and what it says to do."""

import io
import json
from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone

from routing import doctor

pytestmark = pytest.mark.django_db


def found():
    return [(finding.level, finding.what) for finding in doctor.examine().findings]


def sql(text):
    with connection.cursor() as cursor:
        cursor.execute(text)


def test_it_says_what_to_do_and_ends_with_1_where_an_error_is_found():
    out = io.StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("doctor", "--json", stdout=out)
    said = json.loads(out.getvalue())
    first = said["findings"][0]
    assert end.value.code == said["errors"] == 1
    assert first["what"] == "No delivery worker is connected to the database."
    assert first["do"].startswith("Start manage.py serve")
    (of_https,) = (finding for finding in said["findings"] if "security.W016" in finding["what"])  # all in one
    assert "security.W004" in of_https["what"]
    assert "EVENT_SERVICE_HTTPS=1" in of_https["do"]
    assert {"secrets", "migrations", "row security"} < set(said["well"])
    assert "workers" not in said["well"]


def test_of_warnings_alone_it_ends_with_0(monkeypatch):
    monkeypatch.setattr(doctor, "OF_DATABASE", ())
    out = io.StringIO()
    call_command("doctor", stdout=out)
    assert "WARNING  " in out.getvalue()
    assert ", 0 errors" not in out.getvalue()
    warnings = out.getvalue().count("WARNING  ")
    assert out.getvalue().splitlines()[-1] == f"0 errors, {warnings} warning{'s' * (warnings > 1)}."


def test_it_finds_what_would_lose_events_or_show_those_of_others(settings):
    settings.ALLOWED_HOSTS = ["*"]
    settings.EGRESS_ALLOW = [ip_network("0.0.0.0/0")]
    sql("SET LOCAL synchronous_commit = off")
    sql("SET LOCAL TimeZone = 'Europe/Oslo'")
    sql("ALTER TABLE endpoints_endpoint DISABLE ROW LEVEL SECURITY")
    sql("DELETE FROM django_migrations WHERE app = 'routing'")
    said = " ".join(f"{level}: {what}" for level, what in found())
    for finding in [
        "ERROR: ALLOWED_HOSTS lets every Host in.",
        "ERROR: Webhooks reach every address there is (0.0.0.0/0)",
        "ERROR: synchronous_commit is off",
        "WARNING: Connections have the time zone Europe/Oslo.",
        "ERROR: Row-level security is switched off on endpoints_endpoint",
        "migrations are not applied, routing.0001_initial first.",
    ]:
        assert finding in said


@pytest.mark.parametrize(("off_by_s", "level"), [(0, []), (5, ["WARNING"]), (-120, ["ERROR"])])
def test_it_compares_the_clocks(off_by_s, level):
    now = timezone.now() + timedelta(seconds=off_by_s)
    assert [finding.level for finding in doctor.clock(now)] == level


@pytest.mark.parametrize(
    ("network", "level"),
    [("10.0.0.0/8", []), ("127.0.0.0/8", ["WARNING"]), ("::/0", ["ERROR"]), ("::1/128", ["WARNING"])],
)
def test_it_judges_what_webhooks_may_reach(network, level):
    assert [finding.level for finding in doctor.egress([ip_network(network)])] == level


def test_without_a_database_it_says_that_and_the_rest(monkeypatch):
    def fails():
        raise OperationalError("connection refused\nmore")

    monkeypatch.setattr(doctor, "OF_DATABASE", (fails,))
    assert found()[0] == ("ERROR", "The database does not answer: connection refused")
    assert len(found()) > 1
