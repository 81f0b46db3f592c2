"""What workers see to once a second besides sending. Where there is nothing to do, it costs one statement in all."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial

from django.db import connection

from endpoints.outage import OUTAGE
from routing import folding, health, order, partitions, replays, retention, rollups
from routing.queue import Presence, Told, cancel_deleted, reap, report

logger = logging.getLogger(__name__)

DELETED_WITHIN_S = 3600.0  # how far back to look, once the first look has seen everything
EVER_S = 1e9
KEPT_UP_S = 30.0  # between looks for days to come, and for ordered deliveries that wait for nothing
PRUNED_S = 600.0  # between looks for what is too old
PRUNING_S = 0.1  # at a time


class Chores:
    def __init__(self) -> None:
        self._swept = False
        self._kept_up_at = 0.0
        self._pruning: Iterator[retention.Forgot] | None = None
        self._pruned_at = -PRUNED_S

    def do(self, presence: Presence, now: float) -> bool:
        """Do what is due by `now`, of time.monotonic. Return whether an operator has drained the worker."""
        keeping_up = now - self._kept_up_at >= KEPT_UP_S
        if keeping_up:
            partitions.make_ahead()  # before anything writes an attempt: a backup that was put back may lack today's
        within_s = DELETED_WITHIN_S if self._swept else EVER_S
        told = report(presence, deleted_within_s=within_s)
        _see_to(told)
        _try(partial(self._sweep, told, within_s))
        _try(partial(self._prune, now))
        if keeping_up:
            self._kept_up_at = now
            _try(rollups.forget)
            _try(self._let_forgotten_go)
        return told.drained

    def _sweep(self, told: Told, within_s: float) -> None:
        """Cancel some of what is owed to deleted endpoints. What a dead worker had of it is there once it is reaped."""
        self._swept = not (told.deleted and cancel_deleted(within_s=within_s)) and not told.lost

    def _let_forgotten_go(self) -> None:
        if order.let_forgotten_go() >= order.MOST_FORGOTTEN:
            self._kept_up_at = 0.0

    def _prune(self, now: float) -> None:
        """Go on for a moment with what is too old, and begin anew when that is done and it is time."""
        if self._pruning is None and now - self._pruned_at >= PRUNED_S:
            self._pruned_at, self._pruning = now, retention.prune()
        until = time.monotonic() + PRUNING_S
        while self._pruning and time.monotonic() < until:
            if next(self._pruning, None) is None:
                self._pruning = None


def _see_to(told: Told) -> None:
    for there_is, work in (
        (told.lost, reap),
        (told.ailing, health.watch),
        (told.replays, replays.run_some),
        (told.tallies, folding.fold),
        (told.counts, rollups.roll_up),
    ):
        if there_is:
            _try(work)


def _try(work: Callable[[], object]) -> None:
    """Do it, or leave it for the next time: what one workspace's rows make fail ends nobody's deliveries."""
    try:
        work()
    except Exception as error:
        if isinstance(error, OUTAGE) and not connection.is_usable():  # else a lock, a time limit, an index of its own
            raise
        logger.exception("A chore failed and is tried again: %r", work)
