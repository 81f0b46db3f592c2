"""What was spent of the rate limits, by all processes together."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import NamedTuple

from django.db import models, transaction
from django.db.models.functions import Now

SLOTS = 40  # of a period
# What is taken in a slot may be spent up to a slot later, and a period that begins within a slot ends within another.
COUNTED = SLOTS + 2


@dataclass(frozen=True)
class Policy:
    """At most so many units in any period of so many seconds."""

    name: str
    units: int
    seconds: int

    @property
    def slot_s(self) -> float:
        return self.seconds / SLOTS


class Taken(NamedTuple):
    units: int  # 0, or at least what was needed
    slot: int  # in which they count
    left: int  # that others may take now
    wait_s: float  # until as many as were needed will be free; 0 where they were


class Spending(models.Model):
    """One row for whoever has a limit: a key, a workspace, an address."""

    subject = models.CharField(primary_key=True, max_length=80)
    slots = models.JSONField(default=dict)  # number of a slot since 1970 -> units
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "spending"
        indexes = [models.Index(fields=["changed_at"], name="spending_forgotten")]  # what nobody has used for long

    def __str__(self) -> str:
        return self.subject

    @classmethod
    @transaction.atomic
    def take(cls, subject: str, policy: Policy, needed: int, wanted: int, unused: tuple[int, int] = (0, 0)) -> Taken:
        """Take `wanted` units, or as many as there are, but not fewer than are `needed`.

        `unused` are a slot, and the units of it that were taken before and not spent.
        """
        rows = cls.objects.filter(pk=subject).select_for_update(no_key=True)
        found = None
        while found is None:  # it may be forgotten meanwhile
            Spending.objects.bulk_create([Spending(subject=subject)], ignore_conflicts=True)
            found = rows.annotate(now=_Clock()).values_list("slots", "now").first()
        kept, now = found
        slot = int(now // policy.slot_s)
        slots = _counted(kept, slot)
        if unused[0] in slots:
            slots[unused[0]] -= unused[1]
        free = policy.units - sum(slots.values())
        granted = min(wanted, free) if needed <= free else 0
        slots[slot] = slots.get(slot, 0) + granted
        cls.objects.filter(pk=subject).update(slots=slots, changed_at=Now())
        wait_s = 0.0 if granted else _wait_s(slots, policy, needed - free, now)
        return Taken(granted, slot, max(0, free - granted), wait_s)

    @classmethod
    def forget(cls, seconds: int) -> None:
        """Delete what counts no more."""
        cls.objects.filter(changed_at__lt=Now() - timedelta(seconds=seconds)).delete()


class _Clock(models.Func):
    template = "extract(epoch FROM clock_timestamp())::float8"
    output_field = models.FloatField()


def _counted(slots: Mapping[str, int], now: int) -> dict[int, int]:
    """Return the slots that still count. Those ahead do, too, as far: a clock that was set back frees nothing."""
    return {int(slot): units for slot, units in slots.items() if abs(now - int(slot)) < COUNTED}


def _wait_s(slots: Mapping[int, int], policy: Policy, missing: int, now: float) -> float:
    """Return when `missing` units will have stopped to count; after a period, at the latest, all have."""
    for slot, units in sorted(slots.items()):
        missing -= units
        if missing <= 0:
            return max(0.0, (slot + COUNTED) * policy.slot_s - now)
    return float(policy.seconds)


def whole_seconds(seconds: float) -> int:
    return max(1, ceil(seconds))
