"""Events in batches over HTTP, beside the same rows copied straight into PostgreSQL."""

import json
import time
from collections.abc import Iterator

from django.db import connection, transaction
from uuid_utils.compat import uuid7

from benchmarks.costs import service_meter
from benchmarks.figures import Figure, Found, at_least
from benchmarks.load import load
from benchmarks.service import DATA, EVENT, MANAGE, clear, new_workspace, web_process
from endpoints.models import Endpoint, Workspace

ROUNDS = 5
SECONDS = 3
CONNECTIONS = 4
BATCH = 100
TARGET, RATIO = 10_000, 0.4  # events a second, or of the bare COPY


def run() -> Iterator[Found]:
    print(f"\nbatches: {BATCH} events a request, {CONNECTIONS} connections, one web process, a paused webhook")
    clear()
    _, key = new_workspace(webhooks=["http://127.0.0.1:9/"], paused=True)
    bare, _ = new_workspace(webhooks=["http://127.0.0.1:9/"], paused=True)
    with web_process(MANAGE, "web") as web:
        _publish(web.port, key, seconds=1)  # warm-up
        meter, rounds = service_meter(web=[web.process]), []
        for _ in range(ROUNDS):
            copied = _copy(bare)
            with meter:
                rounds.append((copied, _publish(web.port, key)))
    targets = [at_least(TARGET, "measured"), at_least(RATIO)]
    yield Figure.of_rounds("beside a bare COPY into both tables", "events/s", rounds, targets)
    yield meter.cost(f"{BATCH} events a request", round(sum(rate for _, rate in rounds) * SECONDS), "events")


def _publish(port: int, key: str, seconds: float = SECONDS) -> float:
    body = f"[{','.join([EVENT] * BATCH)}]"
    return load(port=port, key=key, connections=CONNECTIONS, seconds=seconds, body=body)["answers"] * BATCH / seconds


def _copy(workspace: Workspace) -> float:
    endpoint = Endpoint.objects.get(workspace=workspace)
    seq, started = _last_seq(endpoint), time.monotonic()
    first = seq
    while time.monotonic() - started < SECONDS:
        with transaction.atomic(), connection.cursor() as cursor:
            ids = [str(uuid7()) for _ in range(BATCH)]
            with cursor.copy(_COPY_EVENTS) as rows:
                for event_id in ids:
                    rows.write_row((event_id, workspace.pk, "order.paid", "/orders", "", "", "now", json.dumps(DATA)))
            with cursor.copy(_COPY_DELIVERIES) as rows:
                for event_id in ids:
                    seq += 1
                    rows.write_row((uuid7(), workspace.pk, event_id, endpoint.pk, seq, "PENDING", "", 0, "now"))
    return (seq - first) / (time.monotonic() - started)


def _last_seq(endpoint: Endpoint) -> int:
    return endpoint.deliveries.count()


_COPY_EVENTS = """
COPY routing_event (id, workspace_id, type, source, subject, ordering_key, date, data) FROM STDIN
"""
_COPY_DELIVERIES = """
COPY routing_delivery (id, workspace_id, event_id, endpoint_id, seq, state, reason, attempts_made, due_at) FROM STDIN
"""
