"""From the outcome of an attempt to what becomes of its delivery, and of the endpoint."""

import random
from datetime import datetime, timedelta
from typing import Any

from django.utils.http import parse_http_date_safe
from django.utils.translation import gettext_noop

from endpoints.policy import RetryPolicy
from routing import retry
from routing.models import Delivery
from routing.queue import Job, Result
from routing.webhooks import Outcome

GONE = 410
TOO_MANY = 429
BUSY = (TOO_MANY, 503)  # statuses that speak for the receiver as a whole, not of one request
PAUSE_S = 5  # for a receiver that does not say for how long it has too many
LONGEST_PAUSE_S = 900
DISABLED_PAUSE_S = 60  # by then health.watch has disabled the endpoint


def expired(job: Job, now: datetime, policy: RetryPolicy) -> Result | None:
    """Return the end of a delivery that is too old for another attempt."""
    if policy.max_age_s is None or _age_s(job, now) <= policy.max_age_s:
        return None
    return Result(job, Delivery.State.EXHAUSTED, "MAX_AGE")


def verdict(job: Job, outcome: Outcome, policy: RetryPolicy) -> Result:
    """Return what becomes of the delivery. Whatever the status, the receiver may want to be disabled or waited for."""
    wishes = {wish.strip().lower() for wish in outcome.webhook_delivery.split(",")}
    disable = _reason_to_disable(outcome, wishes)
    state, reason, wait_s = _next(job, outcome, policy, wishes)
    return Result(
        job,
        state,
        reason,
        retry_after_s=wait_s,
        pause_s=DISABLED_PAUSE_S if disable else _pause_s(outcome),
        disable=disable,
        **_attempt(outcome),
    )


def _next(
    job: Job, outcome: Outcome, policy: RetryPolicy, wishes: set[str]
) -> tuple[Delivery.State, str, float | None]:
    if not outcome.error:
        return Delivery.State.DELIVERED, "", None
    if "abort-message" in wishes:
        return Delivery.State.CANCELLED, "ABORTED_BY_RECEIVER", None
    if outcome.status_code == GONE:
        return Delivery.State.EXHAUSTED, "GONE", None
    if "disable" in wishes:
        return Delivery.State.EXHAUSTED, "DISABLED_BY_RECEIVER", None
    if outcome.status_code in policy.final_statuses:
        return Delivery.State.EXHAUSTED, "FINAL_STATUS", None
    wait_s = retry.wait_s(job.number, waits_s=policy.waits_s, jitter=policy.jitter, chance=random.random())
    if wait_s is None:
        return Delivery.State.EXHAUSTED, "ATTEMPTS_EXHAUSTED", None
    wait_s = retry.stretched_s(wait_s, _asked_s(outcome))
    if policy.max_age_s is not None and _age_s(job, outcome.started_at) + wait_s > policy.max_age_s:
        return Delivery.State.EXHAUSTED, "MAX_AGE", None
    return Delivery.State.PENDING, "", wait_s


def _attempt(outcome: Outcome) -> dict[str, Any]:
    of_the_attempt = outcome._asdict()
    del of_the_attempt["retry_after"], of_the_attempt["webhook_delivery"]
    return of_the_attempt


def _reason_to_disable(outcome: Outcome, wishes: set[str]) -> str:
    if outcome.status_code == GONE:
        return gettext_noop("The receiver answered 410 Gone.")  # pages translate what is stored
    return gettext_noop("The receiver answered webhook-delivery: disable.") if "disable" in wishes else ""


def _pause_s(outcome: Outcome) -> float:
    """Return for how long the endpoint wants nothing at all."""
    if outcome.status_code not in BUSY:
        return 0
    asked_s = _asked_s(outcome)
    if asked_s is None:
        return PAUSE_S if outcome.status_code == TOO_MANY else 0
    return min(asked_s, LONGEST_PAUSE_S)


def _asked_s(outcome: Outcome) -> float | None:
    """Return what Retry-After says, in seconds from the attempt; None where it is neither seconds nor a date."""
    text = outcome.retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    at = parse_http_date_safe(text)
    return None if at is None else max(at - outcome.started_at.timestamp(), 0)


def _age_s(job: Job, now: datetime) -> float:
    return (now - job.first_due_at) / timedelta(seconds=1)
