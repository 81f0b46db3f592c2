"""Events in batches over HTTP, beside the same rows copied straight into PostgreSQL."""

import json
import time
from statistics import median

from django.db import connection, transaction
from uuid_utils.compat import uuid7

from benchmarks.load import load
from benchmarks.service import DATA, EVENT, MANAGE, clear, new_workspace, web_process
from endpoints.models import Endpoint, Workspace

ROUNDS = 5
SECONDS = 3
CONNECTIONS = 4
BATCH = 100
TARGET = 5_000  # events a second, on 2 cores


def run() -> None:
    print(f"\nbatches: {BATCH} events a request, {CONNECTIONS} connections, one web process, a paused webhook")
    clear()
    _, key = new_workspace(webhooks=["http://127.0.0.1:9/"], paused=True)
    bare, _ = new_workspace(webhooks=["http://127.0.0.1:9/"], paused=True)
    with web_process(MANAGE, "web") as web:
        _publish(web.port, key, seconds=1)  # warm-up
        rounds = [(_copy(bare), _publish(web.port, key)) for _ in range(ROUNDS)]
    ceiling, rate = (median(column) for column in zip(*rounds, strict=True))
    ratio = median(rate / ceiling for ceiling, rate in rounds)
    print(f"  bare COPY into both tables {ceiling:7,.0f} events/s")
    print(f"  the service                {rate:7,.0f} events/s (target >= {TARGET:,})  ratio {ratio:.2f}", flush=True)


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
