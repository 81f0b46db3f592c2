"""Events that a websocket brought, sent on to a URL as the webhooks that they could have been."""

import time
from typing import NamedTuple

import requests
from django.conf import settings

from routing.listening import Event
from routing.signing import signature

DEADLINE_S = 30  # for an answer to begin: longer than a webhook has, for somebody may step through the receiver


class Answer(NamedTuple):
    status_code: int | None  # None: none came
    duration_ms: float
    problem: str  # why the event was not taken; empty where it was


def forward(event: Event, url: str, secret: str) -> Answer:
    """Send one signed request. A 2xx takes the event; redirects are not followed."""
    started = time.monotonic()
    try:
        status, problem = _post(url, event.body, _headers(event, secret, int(time.time()))), ""
    except requests.Timeout:
        status, problem = None, f"{url} did not answer within {DEADLINE_S} s."
    except requests.RequestException:
        status, problem = None, f"{url} can't be reached."
    if status is not None and not 200 <= status < 300:
        problem = f"HTTP {status}"
    return Answer(status, (time.monotonic() - started) * 1000, problem)


def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    # A connection for each: one that was kept may lead to a receiver that has been started anew meanwhile.
    with requests.Session() as session:
        session.trust_env = False  # no proxy lies on the way to this machine
        with session.post(
            url, data=body, headers=headers, timeout=DEADLINE_S, allow_redirects=False, stream=True
        ) as answer:
            return answer.status_code


def _headers(event: Event, secret: str, timestamp: int) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "user-agent": f"event-service/{settings.VERSION}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "webhook-id": event.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, event.id, timestamp, event.body),
    }
