"""From the outcome of an attempt to what becomes of its delivery."""

import random

from routing import retry
from routing.models import Delivery
from routing.queue import Job, Result
from routing.webhooks import Outcome


def verdict(job: Job, outcome: Outcome) -> Result:
    if not outcome.error:
        return Result(job, Delivery.State.DELIVERED, **outcome._asdict())
    wait = retry.wait_after(job.number, chance=random.random())
    if wait is None:
        return Result(job, Delivery.State.EXHAUSTED, "ATTEMPTS_EXHAUSTED", **outcome._asdict())
    return Result(job, Delivery.State.PENDING, retry_after_s=wait.total_seconds(), **outcome._asdict())
