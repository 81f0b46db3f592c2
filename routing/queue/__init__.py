"""Claim, settle and upkeep: the only SQL of the delivery queue.

A claim leases rows until `due_at` (the database's clock) under a token; a result is written only where the token
still stands. What a dead worker left behind is reaped when its lease has run out.
"""

from routing.queue.claim import claim, seconds_until_ready
from routing.queue.jobs import DOUBT, LEASE_S, Job, Result, Target
from routing.queue.presence import Presence, Told, leave, report
from routing.queue.settle import settle
from routing.queue.upkeep import cancel_deleted, reap

__all__ = [
    "DOUBT",
    "LEASE_S",
    "Job",
    "Presence",
    "Result",
    "Target",
    "Told",
    "cancel_deleted",
    "claim",
    "leave",
    "reap",
    "report",
    "seconds_until_ready",
    "settle",
]
