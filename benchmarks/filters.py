"""What filters cost: one event against few and many, batches, a change, and patterns that are made to be slow."""

import json
import time
import urllib.request
from collections.abc import Iterator
from statistics import median
from uuid import UUID

from django.db import transaction

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.load import load
from benchmarks.pathological import PAIRS
from benchmarks.service import DATA, EVENT, MANAGE, clear, new_workspace, web_process
from endpoints.models import Endpoint, EventFilter, Workspace
from endpoints.patterns import Index, parse_pattern
from routing.models import Delivery
from routing.submissions import MAX_DATA_BYTES

COUNTS = (10, 1_000, 10_000)
RATIO = 3
ROUNDS = 5
SECONDS = 3
CONNECTIONS = 4
BATCH = 100
BATCH_RATIO = 0.5
SLOWEST_MS = 10
EDITS = 1_000
PER_ENDPOINT = 100  # filters that match nothing
OF_EVENT = {"type": "order.paid", "source": "/orders", "data": DATA}
MATCHING = [
    {"type": ["order.paid"], "data": {"orderId": [DATA["orderId"]]}},
    {"data": {"total": [{"prefix": "24."}], "note": [{"wildcard": "*abc*"}]}},
    {"$or": [{"source": ["/orders"]}, {"source": ["/invoices"]}]},
]
# What others want, in turn. They share the type with the event, but for the last.
OTHERS = [
    lambda n: {"type": ["order.paid"], "data": {"customer": {"id": [f"c-{n}"]}}},
    lambda n: {"type": ["order.paid"], "data": {"orderId": [{"numeric": [">", 2_000 + n, "<", 2_010 + n]}]}},
    lambda n: {"type": ["order.paid"], "data": {"total": [{"prefix": f"{n}."}]}},
    lambda n: {"data": {"file": [{"wildcard": f"*/{n}.png"}]}},
    lambda n: {"data": {"lines": {"sku": [f"sku-{n}"], "count": [{"numeric": [">", 0]}]}}},
    lambda n: {"$or": [{"type": [f"type-{n}"]}, {"source": [{"suffix": f"-{n}"}]}]},
]


def run() -> Iterator[Figure]:
    print(f"\nfilters: {len(MATCHING)} of them match, the others are of {len(OTHERS)} kinds")
    yield from _matching()
    yield _pathological()
    clear()
    yield _batches()
    yield _edits()


def patterns(count: int) -> list[dict]:
    others = [OTHERS[n % len(OTHERS)](n) for n in range(30, 30 + count - len(MATCHING))]
    return MATCHING + others


def _matching() -> Iterator[Figure]:
    indexes = {}
    for count in COUNTS:
        started = time.thread_time()
        parsed = [parse_pattern(pattern) for pattern in patterns(count)]
        parsed_s, started = time.thread_time() - started, time.thread_time()
        indexes[count] = Index([(pattern, number) for number, pattern in enumerate(parsed)])
        indexed_s = time.thread_time() - started
        print(f"  {count:6,} parsed in {parsed_s * 1e3:7.1f} ms, indexed in {indexed_s * 1e3:7.1f} ms")
    rounds = [[_match(indexes[count]) for count in COUNTS] for _ in range(ROUNDS)]
    for column, count in list(enumerate(COUNTS))[1:]:
        pairs = [(each[0], each[column]) for each in rounds]
        yield Figure.of_rounds(f"{count:,} filters beside {COUNTS[0]}", "us an event", pairs, [at_most(RATIO)])


def _match(index: Index[int], times: int = 1_000) -> float:
    """Return microseconds an event."""
    started = time.thread_time()
    for _ in range(times):
        if sorted(index.matching(OF_EVENT)) != [0, 1, 2]:
            raise RuntimeError("Other filters match than should")
    return (time.thread_time() - started) * 1e6 / times


def _pathological() -> Figure:
    took = {}
    for name, (pattern, data_of) in PAIRS.items():
        compiled, event = parse_pattern({"data": pattern}), {"data": data_of(MAX_DATA_BYTES)}
        compiled.match(event)  # which also compiles
        took[name] = median(_timed_ms(lambda: compiled.match(event)) for _ in range(ROUNDS))  # noqa: B023 - called here
    slowest = max(took, key=took.get)
    name = f"the slowest of {len(PAIRS)} pathological ones: {slowest}"
    return Figure(name=name, unit="ms", measured=took[slowest], targets=(at_most(SLOWEST_MS, "measured"),))


def _timed_ms(work) -> float:
    started = time.thread_time()
    work()
    return (time.thread_time() - started) * 1e3


def _batches() -> Figure:
    keys = [_workspace_with(count)[1] for count in (COUNTS[0], COUNTS[-1])]
    with web_process(MANAGE, "web") as web:
        for key in keys:
            _publish_types(web.port, key, "warm-up")  # which compiles the filters
            _publish(web.port, key, seconds=1)
        rounds = [[_publish(web.port, key) for key in keys] for _ in range(ROUNDS)]
    name = f"batches of {BATCH} against {COUNTS[-1]:,} filters beside {COUNTS[0]}"
    return Figure.of_rounds(name, "events/s", rounds, [at_least(BATCH_RATIO)])


def _publish(port: int, key: str, seconds: float = SECONDS) -> float:
    body = f"[{','.join([EVENT] * BATCH)}]"
    return load(port=port, key=key, connections=CONNECTIONS, seconds=seconds, body=body)["answers"] * BATCH / seconds


def _workspace_with(count: int) -> tuple[Workspace, str]:
    """Make a workspace with so many filters, of which each that matches has a paused endpoint of its own."""
    given = patterns(count)
    endpoints = len(MATCHING) + -(-(count - len(MATCHING)) // PER_ENDPOINT)
    workspace, key = new_workspace(webhooks=[f"http://127.0.0.1:9/{n}" for n in range(endpoints)], paused=True)
    own, others = MATCHING, given[len(MATCHING) :]
    groups = [[pattern] for pattern in own]
    groups += [others[start : start + PER_ENDPOINT] for start in range(0, len(others), PER_ENDPOINT)]
    for endpoint, wanted in zip(Endpoint.objects.filter(workspace=workspace).order_by("pk"), groups, strict=True):
        with transaction.atomic():
            for pattern in wanted:
                EventFilter.create(
                    workspace_id=workspace.pk, name="benchmark", definition={"pattern": pattern}, endpoints=[endpoint]
                )
    return workspace, key


def _edits() -> Figure:
    """Change a filter here, and publish to the web process at once."""
    workspace, key = new_workspace(webhooks=["http://127.0.0.1:9/"], paused=True)
    endpoint = Endpoint.objects.get(workspace=workspace)
    edited = EventFilter.create(
        workspace_id=workspace.pk, name="edited", definition={"pattern": {"type": ["none"]}}, endpoints=[endpoint]
    )
    with web_process(MANAGE, "web") as web:
        for number in range(EDITS):
            edited.change(definition={"pattern": {"type": [f"edit-{number}"]}})
            _publish_types(web.port, key, f"edit-{number}", f"edit-{number - 1}")
    decided = _decided(workspace.pk)
    targets = (at_least(EDITS, "measured"),)
    return Figure(name="edits that decided the next event", unit="events", measured=decided, targets=targets)


def _publish_types(port: int, key: str, *types: str) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/event-service/events",
        json.dumps([{"type": type} for type in types]).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        answer.read()


def _decided(workspace_id: UUID) -> int:
    """Return how many of the first of each two events are owed, less those of the second ones."""
    seqs = Delivery.objects.filter(workspace_id=workspace_id).order_by("seq").values_list("event__type", flat=True)
    return sum(type == f"edit-{number}" for number, type in enumerate(seqs))
