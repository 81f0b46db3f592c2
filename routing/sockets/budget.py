"""How much clients may say to one process. Who says more is read from more slowly; nobody is cut off for it."""

import asyncio
import time
from collections.abc import Hashable, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

# Frames and bytes a second; ten seconds' worth may come at once.
PER_KEY = (5_000, 1 << 20)
PER_WORKSPACE = (10_000, 2 << 20)
PER_PROCESS = (20_000, 8 << 20)
_SAVED_S = 10
_MOST_KNOWN = 10_000


class Budget:
    """A token bucket of frames and one of bytes, filled by the clock."""

    def __init__(self, frames: float, size: float) -> None:
        self._rates = (frames, size)
        self._left = [frames * _SAVED_S, size * _SAVED_S]
        self._at = time.monotonic()

    def spend(self, size: int, now: float) -> float:
        """Take one frame of that size out. Return for how many seconds too much was taken."""
        late_s = 0.0
        for index, cost in enumerate((1, size)):
            rate = self._rates[index]
            saved = min(self._left[index] + (now - self._at) * rate, rate * _SAVED_S)
            self._left[index] = saved - cost
            late_s = max(late_s, -self._left[index] / rate)
        self._at = now
        return late_s

    def has(self, size: int) -> bool:
        """Tell whether one frame of that size was left when somebody spent last, which is the least there can be."""
        return self._left[0] >= 1 and self._left[1] >= size


class Budgets:
    def __init__(self) -> None:
        self._known: dict[Hashable, Budget] = {}

    async def spend(self, workspace_id: UUID, key_id: UUID | None, size: int, scope: Mapping[str, Any]) -> None:
        """Return when the client, its workspace and the process have that much left, or the client has gone.

        One after another: what a client says too much of is no debt of its workspace, nor that one's of the process.
        """
        for budget in self._budgets(workspace_id, key_id):
            late_s = budget.spend(size, time.monotonic())
            if late_s > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(scope["client_gone"].wait(), late_s)
                    return

    def spend_at_once(self, workspace_id: UUID, key_id: UUID | None, size: int) -> bool:
        """Spend, and return True, where that much is left for sure; else spend nothing."""
        budgets = self._budgets(workspace_id, key_id)
        if not all(budget.has(size) for budget in budgets):
            return False
        now = time.monotonic()
        for budget in budgets:
            budget.spend(size, now)
        return True

    def _budgets(self, workspace_id: UUID, key_id: UUID | None) -> tuple[Budget, Budget, Budget]:
        return (
            self._of((workspace_id, key_id), PER_KEY),
            self._of(workspace_id, PER_WORKSPACE),
            self._of("process", PER_PROCESS),
        )

    def _of(self, whose: Hashable, rates: tuple[float, float]) -> Budget:
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        known = self._known.get(whose)
        if known is None:
            known = self._known[whose] = Budget(*rates)
        return known


budgets = Budgets()
