"""What each page of the console and each list of the API costs with 10,000 deliveries and with millions."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from benchmarks.figures import Figure, at_most
from benchmarks.service import clear, new_workspace
from endpoints.models import ApiKey, Endpoint, PortalLink, PortalRight, Scope, Workspace
from routing import partitions
from routing.models import Delivery
from routing.portal.door import PATH as PORTAL

FEW, MANY = 10_000, int(os.environ.get("BENCH_DELIVERIES", "10000000"))
AT_ONCE = 500_000
NOW_MS = int(time.time() * 1000)
ENDPOINTS = 10
EACH = 5  # deliveries of an event
TURNS, ROUNDS = 3, 4
FILL_S = int(os.environ.get("BENCH_FILL_S", "330"))  # and no longer: what there is then is measured
COPY = "few"
MOST_QUERIES, PAGE_RATIO, LIST_RATIO = 10, 3.0, 1.3
SEARCHES = (  # none "within": the few are all of the first minutes of the 30 days
    "state=EXHAUSTED",
    "state=SENDING",
    "state=OPEN&since=2020-01-01T00:00",
    "reason=HTTP_STATUS",
    "status=503",
    "status=404",
    "type=order.paid",
    "type=none.such",
    "text=none such",
    "endpoint=ENDPOINT",
    "endpoint=ENDPOINT&state=EXHAUSTED&since=2020-01-01T00:00",
    "endpoint=ENDPOINT&text=none such&since=2026-01-01T00:00",
    "until=2040-01-01T00:00&text=none such",
    "q=DELIVERY",
    "q=EVENT",
)
PORTAL_PAGES = (
    "",
    "endpoints/ENDPOINT/",
    "endpoints/ENDPOINT/edit/",
    "endpoints/ENDPOINT/secret/",
    "deliveries/",
    "deliveries/?endpoint=ENDPOINT",
    "deliveries/?state=EXHAUSTED",
    "deliveries/?endpoint=ENDPOINT&state=EXHAUSTED",
    "deliveries/?type=none.such",
    "deliveries/?id=DELIVERY",
    "deliveries/DELIVERY/",
)
LISTS = {
    "events": "id type",
    "deliveries": "id state",
    "attempts": "id",
    "replays": "id",
    "endpoints": "id name",
    "eventsFilters": "id name",
    'deliveries(filters: {endpointId: {exact: "ENDPOINT"}})': "id",
    "deliveries(filters: {state: {exact: EXHAUSTED}})": "id",
}


class Cost(NamedTuple):
    ms: float
    queries: int


def run() -> Iterator[Figure]:
    print(f"\npages: with {FEW:,} deliveries and with {MANY:,}; the quickest of {TURNS * ROUNDS}")
    clear()
    settings.ALLOWED_HOSTS = ["testserver"]
    for whose in ("KEY", "WORKSPACE", "ADDRESS"):
        setattr(settings, f"RATE_PER_{whose}", None)
    workspace, _ = new_workspace(webhooks=[f"http://127.0.0.1:9/{number}" for number in range(ENDPOINTS)])
    _, key = ApiKey.issue(workspace=workspace, name="lists", scopes=Scope.values)
    visitor = Client()
    visitor.force_login(User.objects.create_superuser("bench"), backend="django.contrib.auth.backends.ModelBackend")
    today = datetime.now(UTC).date()
    for day in {today - timedelta(days=number) for number in range(31)} - set(partitions.days()):
        partitions.make(day)
    _open_portal(visitor, workspace)
    _fill(0, FEW)
    _copy()
    filled = _fill_up()
    print(f"  {filled:,} deliveries; with few and with many by turns", flush=True)
    for name, visit in _visits(visitor, key):
        yield from _figures(name, *_costs(visit))


def _open_portal(visitor: Client, workspace: Workspace) -> None:
    _, token = PortalLink.issue(workspace=workspace, name="bench", rights=PortalRight.values)
    assert visitor.post(f"{PORTAL}open", {"token": token}).status_code == 302


def _fill_up() -> int:
    """Write all that is asked for, or what there is time for. Return how much there is."""
    started, behind = time.monotonic(), FEW
    while behind < MANY and time.monotonic() - started < FILL_S:
        before, behind = behind, min(behind + AT_ONCE, MANY)
        _fill(before, behind)
    _tidy()
    print(f"  filled in {time.monotonic() - started:.0f} s", flush=True)
    return behind


def _copy() -> None:
    """Have a copy of the database as it is now, beside it."""
    name = connection.settings_dict["NAME"]
    _turn_to("postgres")
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE {COPY} TEMPLATE "{name}"')
    _turn_to(name)


def _turn_to(database: str) -> None:
    connection.close()
    connection.close_pool()
    connection.settings_dict["NAME"] = database


def _figures(name: str, few: Cost, many: Cost) -> Iterator[Figure]:
    is_list = name.startswith("{")
    yield Figure.of_rounds(name, "ms", [(few.ms, many.ms)], [at_most(LIST_RATIO if is_list else PAGE_RATIO)])
    if not is_list:
        queries = max(few.queries, many.queries)
        yield Figure(name=f"{name}, queries", unit="", measured=queries, targets=(at_most(MOST_QUERIES, "measured"),))


def _visits(visitor: Client, key: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    endpoint, delivery = Endpoint.objects.earliest("pk"), Delivery.objects.earliest("pk")  # that both have
    ids = {"ENDPOINT": str(endpoint.pk), "DELIVERY": str(delivery.pk), "EVENT": str(delivery.event_id)}
    for page in _pages():
        yield page, partial(visitor.get, _with(page, ids))
    for hours in ("1", "720"):
        page = f"{PORTAL}endpoints/ENDPOINT/replay/"
        yield f"{page} of {hours} h", partial(visitor.post, _with(page, ids), {"hours": hours})
    for name, members in LISTS.items():
        for more in ("", "totalCount "):
            query = f"{{ {name} {{ {more}collectionItems {{ {members} }} }} }}"
            yield query, partial(_ask, visitor, key, {"query": _with(query, ids)})


def _with(text: str, ids: dict[str, str]) -> str:
    for name, id_ in ids.items():
        text = text.replace(name, id_)
    return text


def _ask(visitor: Client, key: str, body: dict[str, str]) -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    answer = visitor.post("/event-service/graphql", body, "application/json", headers=headers)
    assert "errors" not in answer.json(), answer.content
    return answer


def _costs(visit: Callable[[], Any]) -> tuple[Cost, Cost]:
    """Return what it costs with few and with many, by turns. Other work on the machine only adds to the quickest."""
    many = connection.settings_dict["NAME"]
    found: dict[str, list[Cost]] = {COPY: [], many: []}
    for _ in range(TURNS):
        for database, costs in found.items():
            _turn_to(database)
            visit()  # connects, and warms up
            costs += [_cost(visit) for _ in range(ROUNDS)]
    return min(found[COPY]), min(found[many])


def _cost(visit: Callable[[], Any]) -> Cost:
    with CaptureQueriesContext(connection) as queries:
        started = time.perf_counter()
        answer = visit()
        took_ms = (time.perf_counter() - started) * 1000
        count = len([each for each in queries.captured_queries if _counts(each["sql"])])
    assert answer.status_code == 200, answer.content[:500]
    return Cost(took_ms, count)


def _counts(sql: str) -> bool:
    return not sql.startswith(("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT"))


def _pages() -> Iterator[str]:
    yield from (f"/admin/?window={window}" for window in ("1h", "24h", "7d", "30d"))
    yield from ("/admin/queue/", "/admin/endpoints/endpoint/ENDPOINT/change/")
    yield from ("/admin/routing/delivery/DELIVERY/change/", "/admin/routing/event/EVENT/change/")
    yield from (PORTAL + place for place in PORTAL_PAGES)
    for app in ("endpoints", "routing"):
        yield from (reverse(f"admin:{app}_{each._meta.model_name}_changelist") for each in _models(app))
    yield from (f"/admin/routing/delivery/?{asked}" for asked in SEARCHES)
    yield from (f"/admin/routing/event/?{asked}" for asked in ("type=none.such", "text=none such", "q=DELIVERY"))


def _models(app: str) -> list[type[Any]]:
    return list(apps.get_app_config(app).get_models())


def _tidy() -> None:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def _fill(before: int, behind: int) -> None:
    """Write deliveries as of the last 30 days, without asking of each row whether its keys stand or counting it."""
    endpoints = [str(pk) for pk in Endpoint.objects.order_by("pk").values_list("pk", flat=True)]
    workspace_id = Endpoint.objects.values_list("workspace_id", flat=True)[0]
    asked = {"workspace": workspace_id, "endpoints": endpoints, "each": EACH, "before": before, "behind": behind}
    asked |= {"all": max(MANY, FEW), "now_ms": NOW_MS, "many": len(endpoints)}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for statement in (_EVENTS, _DELIVERIES, _ATTEMPTS):
            cursor.execute(statement, asked)
        cursor.execute("UPDATE routing_cursor SET last_seq = %s", [behind // len(endpoints) + 1])
    if before == 0:
        _tidy()


# The n-th row's id: the time in it goes on evenly over 30 days until now.
_ID = (
    "(lpad(to_hex(%(now_ms)s::bigint - 2592000000 + {n} * 2592000000 / %(all)s), 12, '0')"
    " || '70008' || lpad(to_hex({n}), 15, '0'))::uuid"
)
_AT = "now() - interval '30 days' + {n} * interval '30 days' / %(all)s"
_FIRST = "(nth / %(each)s * %(each)s)"
_EVENTS = f"""
INSERT INTO routing_event (id, workspace_id, type, source, subject, ordering_key, date, data, creation_date)
SELECT {_ID.format(n="nth")}, %(workspace)s, CASE nth / %(each)s %% 50 WHEN 0 THEN 'order.lost' ELSE 'order.paid' END,
       '/orders', '', '', {_AT.format(n="nth")}, '{{"orderId": ' || nth || ', "note": "' || repeat('abcdefghij', 20)
       || '"}}', {_AT.format(n="nth")}
FROM generate_series(%(before)s::bigint, %(behind)s::bigint - 1, %(each)s) AS nth
"""
_DELIVERIES = f"""
INSERT INTO routing_delivery (id, workspace_id, event_id, endpoint_id, seq, state, reason, attempts_made, due_at,
                              creation_date, settled_at)
SELECT {_ID.format(n="nth")}, %(workspace)s, {_ID.format(n=_FIRST)},
       (%(endpoints)s::uuid[])[nth %% %(many)s + 1], nth / %(many)s + 1, state,
       CASE state WHEN 'EXHAUSTED' THEN 'HTTP_STATUS' ELSE '' END, (state <> 'PENDING')::int,
       CASE state WHEN 'PENDING' THEN now() END, {_AT.format(n="nth")},
       CASE WHEN state <> 'PENDING' THEN {_AT.format(n="nth")} END
FROM generate_series(%(before)s::bigint, %(behind)s::bigint - 1) AS nth CROSS JOIN LATERAL (
    SELECT CASE WHEN nth %% 1009 = 1 THEN 'PENDING' WHEN nth %% 101 = 1 THEN 'EXHAUSTED' ELSE 'DELIVERED' END AS state
) AS stands
"""
_ATTEMPTS = f"""
INSERT INTO routing_attempt (id, workspace_id, delivery_id, number, started_at, duration_ms, status_code, error,
                             error_detail, response_body)
SELECT {_ID.format(n="nth")}, %(workspace)s, {_ID.format(n="nth")}, 1, {_AT.format(n="nth")}, 12,
       CASE WHEN nth %% 101 = 1 THEN 503 ELSE 200 END, CASE WHEN nth %% 101 = 1 THEN 'HTTP_STATUS' ELSE '' END, '', ''
FROM generate_series(%(before)s::bigint, %(behind)s::bigint - 1) AS nth WHERE nth %% 1009 <> 1
"""
