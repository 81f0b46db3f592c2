"""What is measured: of the installation by the database, of each process by itself, and all of it documented."""

import json
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import requests
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from endpoints.models import Endpoint
from event_service import metrics
from event_service import settings as settings_file
from routing import metrics as measured
from routing.models import Delivery, Rollup
from routing.queue import Result, claim, settle
from routing.rollups import roll_up
from routing.worker import Worker
from tests.receiver import DEADLINE_S
from tests.service import wait_until
from tests.traffic import record

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "observability.md").read_text()
TOKEN = "let-me-in"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def _fresh(settings):
    settings.METRICS_TOKEN = TOKEN
    metrics.kept.until = 0.0


def samples(text):
    """Return the value of each sample by its name, with the value of its label."""
    return {
        " ".join([sample.name.removeprefix("event_service_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(client):
    metrics.kept.until = 0.0
    return samples(client.get("/metrics", headers=BEARER).content.decode())


def families(registry):
    """Return the kind and the labels of each metric that is ours, by the name that Prometheus has for it."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            sorted({label for sample in family.samples for label in sample.labels} - {"le"}),
        )
        for family in registry.collect()
        if family.name.startswith("event_service_")
    }


def documented(heading):
    rows = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return {
        name: (kind, sorted(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(r"^\| `(event_service_\w+)` \| (\w+) \| (.*?)\|", rows, re.MULTILINE)
    }


# --- the installation


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "Bearer"}])
def test_only_who_has_the_token_is_told(client, db, headers):
    answer = client.get("/metrics", headers=headers)
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")


def test_without_a_token_there_is_no_such_page(client, settings):
    settings.METRICS_TOKEN = ""
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


def test_what_happened_is_told_to_the_last_one(client, workspace, foreign, webhook, web_socket):
    record(workspace, 5)
    outcomes = [("DELIVERED", ""), ("DELIVERED", ""), ("EXHAUSTED", "TIMEOUT"), ("PENDING", "HTTP_STATUS")]
    for job, (state, error) in zip(claim(limit=4, per_endpoint=4, rooms={}), outcomes, strict=True):
        wait_s = 3600 if state == "PENDING" else None
        settle([Result(job, state, error, wait_s, started_at=timezone.now(), duration_ms=5.0, error=error)])
    Endpoint.change_state([foreign], Endpoint.State.DISABLED, reason="test")
    waiting = scraped(client)
    roll_up()
    found = scraped(client)

    # What is counted and not rolled up yet is nevertheless accounted for.
    assert (waiting["events_total"], waiting["conservation_difference"]) == (0, 0)
    assert found["events_total"] == 5
    assert found["deliveries_owed_total"] == Delivery.objects.count() == 10
    assert {name: value for name, value in found.items() if name.startswith("deliveries_ended")} == {
        "deliveries_ended_total DELIVERED": 2,
        "deliveries_ended_total EXHAUSTED": 1,
        "deliveries_ended_total SKIPPED": 0,
        "deliveries_ended_total CANCELLED": 0,
    }
    assert {name: value for name, value in found.items() if name.startswith("attempts_total")} == {
        "attempts_total OK": 2,
        "attempts_total TIMEOUT": 1,
        "attempts_total HTTP_STATUS": 1,
    }
    buckets = ("0.004", "0.008", "+Inf")
    assert [found[f"attempt_duration_seconds_bucket {le}"] for le in buckets] == [0, 4, 4]
    assert found["delivery_latency_seconds_bucket +Inf"] == 2
    assert (found["endpoints ACTIVE"], found["endpoints DISABLED"]) == (2, 1)
    assert (found["deliveries_open"], found["deliveries_in_flight"], found["endpoints_failing"]) == (7, 0, 1)
    assert found["queue_age_seconds"] > 0
    assert found["conservation_difference"] == 0
    Rollup.objects.filter(period="DAY").delete()  # as after years
    assert scraped(client)["conservation_difference"] == 0


def test_a_delivery_that_was_never_written_shows(client, workspace, webhook):
    record(workspace)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE routing_cursor SET last_seq = last_seq + 2 WHERE endpoint_id = %s", [webhook.pk])
    assert scraped(client)["conservation_difference"] == 2


def test_counters_that_nobody_rolls_up_are_said_to_be_behind(client, workspace):
    record(workspace)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE routing_count SET at = at - interval '1 hour'")
    assert 3600 <= scraped(client)["rollup_lag_seconds"] < 3700
    roll_up()
    assert scraped(client)["rollup_lag_seconds"] == 0


def test_many_scrapes_cost_the_database_what_one_does(client, db, django_assert_num_queries):
    with django_assert_num_queries(7):  # four questions, their time limit, and a transaction around them
        client.get("/metrics", headers=BEARER)
    with django_assert_num_queries(0):
        assert client.get("/metrics", headers=BEARER).status_code == 200


# --- a process


@contextmanager
def opened(lives=lambda: True):
    door = metrics.ProcessDoor(("127.0.0.1", 0), lives)
    door.open()
    try:
        yield f"http://127.0.0.1:{door.server_address[1]}"
    finally:
        door.shutdown()
        door.server_close()


@pytest.mark.parametrize(("lives", "status"), [(True, 200), (False, 503)])
def test_a_process_says_whether_it_does_its_work(lives, status):
    with opened(lambda: lives) as url:
        answer = requests.get(f"{url}/healthz", timeout=DEADLINE_S)
    assert (answer.status_code, answer.json()) == (status, {"live": lives})


def test_a_process_tells_what_it_measured_to_who_has_the_token():
    with opened() as url:
        refused = requests.get(f"{url}/metrics", timeout=DEADLINE_S)
        found = samples(requests.get(f"{url}/metrics", headers=BEARER, timeout=DEADLINE_S).text)
    assert refused.status_code == 401
    assert found["process_resident_memory_bytes"] > 1e6


@pytest.mark.django_db(transaction=True)
def test_a_worker_measures_what_it_does_and_whether_it_stands_still(workspace, receiver, monkeypatch):
    Endpoint.create_webhook(workspace_id=workspace.pk, name="target", url=receiver.url)
    before = families_values()
    record(workspace, 3)
    worker = Worker(threads=1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        wait_until(Delivery.objects.filter(state="DELIVERED").count, (3).__eq__)
        assert worker.lives()
        assert scraped_workers() == 1
    finally:
        worker.stop()
        thread.join()
    after = families_values()
    risen = {name: after[name] - before.get(name, 0) for name in after}
    assert risen["claimed_deliveries_total"] == risen["settled_deliveries_total DELIVERED"] == 3
    assert risen["matched_deliveries_total"] == 3
    assert (after["worker_outstanding_deliveries"], risen["stale_results_total"]) == (0, 0)
    monkeypatch.setattr("routing.worker.STANDS_STILL_S", -1)
    assert not worker.lives()


def families_values():
    return samples(metrics.generate_latest(measured.OF_PROCESS).decode())


def scraped_workers():
    return samples(metrics.generate_latest(metrics.REGISTRY).decode())["workers"]


@pytest.mark.parametrize("given", ["9464", "127.0.0.1:", "127.0.0.1:x", "0.0.0.0:9464"])
def test_a_door_that_is_no_address_or_open_to_the_world_is_refused(monkeypatch, given):
    monkeypatch.setenv("A_DOOR", given)
    monkeypatch.setattr(settings_file, "METRICS_TOKEN", "")
    with pytest.raises(ImproperlyConfigured, match="A_DOOR is "):
        settings_file._door("A_DOOR")


@pytest.mark.parametrize(("given", "found"), [("", True), ("1", True), ("0", False), ("true", None), ("on", None)])
def test_a_switch_is_on_or_off_and_nothing_else(monkeypatch, given, found):
    monkeypatch.setenv("A_SWITCH", given)
    with nullcontext() if found is not None else pytest.raises(ImproperlyConfigured, match="A_SWITCH is .*give 1 or 0"):
        assert settings_file._switch("A_SWITCH", default=True) is found
    monkeypatch.delenv("A_SWITCH")
    assert settings_file._switch("A_SWITCH") is False


# --- what is written about them


def test_the_page_lists_every_metric_with_its_kind_and_labels(db, workspace):
    measured.ingest_requests.labels(202)
    measured.ingest_events.labels("accepted")
    measured.settled.labels("DELIVERED")
    measured.bus_messages.labels("nats", "taken")
    assert documented("The installation") == families(metrics.REGISTRY)
    assert documented("A process") == families(measured.OF_PROCESS)


def expressions():
    """Return what the dashboard asks, as Prometheus gets it from Grafana."""
    dashboard = json.loads((DOCS / "observability/dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [expression.replace("$__rate_interval", "1m") for expression in asked]


def test_the_dashboard_and_the_alerts_name_metrics_that_there_are(db):
    there = {
        sample_name
        for registry in (metrics.REGISTRY, measured.OF_PROCESS)
        for family in registry.collect()
        for sample_name in (family.name, f"{family.name}_total", f"{family.name}_bucket")
    }
    texts = [*expressions(), (DOCS / "observability/alerts.yml").read_text()]
    named = {name for text in texts for name in re.findall(r"\b(?:event_service|process)_\w+", text)}
    assert named - there == set()
    ours = {name for heading in ("The installation", "A process") for name in documented(heading)}
    unseen = {name for name in ours if not any(name in text for text in texts)}
    assert unseen == {
        "event_service_ingest_waiting_requests",
        "event_service_matched_deliveries_total",
        "event_service_claimed_deliveries_total",
        "event_service_settled_deliveries_total",
        "event_service_replays_running",
    }


@pytest.fixture
def promtool():
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool, of Debian's package prometheus, is not installed")

    def run(*arguments, given=None):
        command = [found, *arguments]
        done = subprocess.run(command, cwd=DOCS / "observability", input=given, text=True, capture_output=True)
        return done.returncode, done.stdout + done.stderr

    return run


def test_prometheus_itself_takes_the_alerts_the_dashboard_and_what_is_scraped(promtool, db, tmp_path):
    asked = [{"record": f"asked:{number}", "expr": expression} for number, expression in enumerate(expressions())]
    dashboard = tmp_path / "dashboard.yml"
    dashboard.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": asked}]}))
    (tmp_path / "token").write_text(TOKEN)
    scraping = tmp_path / "prometheus.yml"
    given = (DOCS / "observability/prometheus.yml").read_text()
    scraping.write_text(given.replace("alerts.yml", str(DOCS / "observability/alerts.yml")))
    results = [
        promtool("check", "rules", "alerts.yml"),
        promtool("test", "rules", "alerts_test.yml"),
        promtool("check", "rules", str(dashboard)),
        promtool("check", "config", str(scraping)),
        *(
            promtool("check", "metrics", given=metrics.generate_latest(registry).decode())
            for registry in (metrics.REGISTRY, measured.OF_PROCESS)
        ),
    ]
    assert [said for status, said in results if status] == []
