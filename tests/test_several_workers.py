"""What must hold for all workers together: real processes, of which some end."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.receiver import Receiver
from tests.service import Service, wait_until

RATE, PERIOD_S = 120, 3
ENOUGH = 2 * RATE
KEYS, EACH = "abc", 30


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service"), workers=2) as service:
        yield service


def create_webhook(service: Service, url: str, settings: str) -> str:
    mutation = f'mutation {{ createWebhookEndpoint(name: "hook", url: "{url}", {settings}) {{ id }} }}'
    endpoint: str = service.graphql(mutation)["createWebhookEndpoint"]["id"]
    return endpoint


def delete(service: Service, endpoint: str) -> None:
    service.graphql(f'mutation {{ deleteEndpoints(ids: ["{endpoint}"]) {{ ok }} }}')


def test_a_rate_is_kept_by_all_workers_together(service: Service, receiver: Receiver) -> None:
    endpoint = create_webhook(service, receiver.url, f"rateLimit: {{count: {RATE}, periodSeconds: {PERIOD_S}}}")
    service.publish(*[{"type": "paced"}] * 2 * ENOUGH)

    receiver.wait_for_count(ENOUGH)

    delete(service, endpoint)
    times = [request.at for request in receiver.requests]
    assert max(sum(start <= at < start + PERIOD_S for at in times) for start in times) <= RATE * 1.05
    assert ENOUGH / (times[ENOUGH - 1] - times[0]) >= RATE / PERIOD_S * 0.8


def test_each_key_keeps_its_order_though_workers_are_killed(service: Service, receiver: Receiver) -> None:
    endpoint = create_webhook(service, receiver.url, "ordering: FIFO_BLOCK")
    service.publish(*({"type": "ordered", "orderingKey": key, "data": [key, n]} for n in range(EACH) for key in KEYS))
    for count in (15, 40):
        receiver.wait_for_count(count)
        service.kill("deliver")
        service.end_leases()

    came = wait_until(lambda: in_order_of_arrival(receiver), lambda came: all(len(ns) == EACH for ns in came.values()))

    delete(service, endpoint)
    assert came == dict.fromkeys(KEYS, list(range(EACH)))
    assert len(receiver.requests) <= len(KEYS) * EACH + 2 * len(KEYS)  # what was on its way may come again


def in_order_of_arrival(receiver: Receiver) -> dict[str, list[int]]:
    """Return what came of each key, without what came again."""
    came: dict[str, dict[Any, None]] = {key: {} for key in KEYS}
    for request in list(receiver.requests):
        key, n = json.loads(request.body)["data"]
        came[key][n] = None
    return {key: list(ns) for key, ns in came.items()}
