"""How many events a workspace has published today, where that is limited."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import models
from django.utils import timezone

from endpoints.auth import Grant
from endpoints.models import Workspace
from endpoints.models.quotas import OverQuota
from routing.models.events import Answer, Recorded
from routing.plans import Ask, Plan, Tell
from routing.submissions import NewEvent

Answers = Sequence[Answer]


class DayIsFull(OverQuota):
    """A refusal that ends with the day."""

    def __init__(self, limit: int, used: int, more: int) -> None:
        now = timezone.now()
        midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
        self.headers = [("Retry-After", f"{(midnight - now).seconds + 1}")]
        super().__init__(
            f"This workspace may publish {limit} events a day and has published {used}; "
            f"{more} more are too many before 00:00 UTC."
        )


class DailyEvents(models.Model):
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False, related_name="+")
    day = models.DateField()  # of UTC
    events = models.BigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "daily events"
        constraints = [models.UniqueConstraint(fields=["workspace", "day"], name="events_of_a_day_once")]

    def __str__(self) -> str:
        return f"{self.workspace_id} {self.day}"

    @classmethod
    def of_today(cls, workspace_id: UUID) -> int:
        counts = cls.objects.filter(workspace_id=workspace_id, day=timezone.now().astimezone(UTC).date())
        return counts.values_list("events", flat=True).first() or 0


def recording(
    requests: Sequence[tuple[Grant, Sequence[NewEvent]]],
    record: Callable[[Sequence[NewEvent]], Plan[Sequence[Answer]]],
) -> Plan[list[Answers | DayIsFull]]:
    """Return a plan that does as `record` does, within the quotas: a request is recorded as a whole, or refused."""
    limited = sorted({grant.workspace_id for grant, _ in requests if grant.events_per_day is not None})
    used = (yield from _used_today(limited)) if limited else {}
    refusals = [_refusal(grant, len(events), used) for grant, events in requests]
    welcome = [events for (_, events), refusal in zip(requests, refusals, strict=True) if refusal is None]
    recorded = iter((yield from record([event for events in welcome for event in events])))
    answers: list[Answers | DayIsFull] = [
        refusal or [next(recorded) for _ in events] for (_, events), refusal in zip(requests, refusals, strict=True)
    ]
    if limited:
        yield Tell(_COUNT, [list(limited), [_fresh(workspace_id, requests, answers) for workspace_id in limited]])
    return answers


def _used_today(workspace_ids: Sequence[UUID]) -> Plan[dict[UUID, int]]:
    """Lock what these workspaces have published today, until the transaction ends."""
    yield Tell(_BEGIN_DAY, [list(workspace_ids)])
    rows = yield Ask(_TODAY, [list(workspace_ids)])
    return dict(rows)


def _refusal(grant: Grant, more: int, used: dict[UUID, int]) -> DayIsFull | None:
    """Return why there is no room for so many `more`, or count them in."""
    limit = grant.events_per_day
    if limit is None:
        return None
    before = used[grant.workspace_id]
    if before + more > limit:
        return DayIsFull(limit, before, more)
    used[grant.workspace_id] += more
    return None


def _fresh(
    workspace_id: UUID,
    requests: Sequence[tuple[Grant, Sequence[NewEvent]]],
    answers: Sequence[Answers | DayIsFull],
) -> int:
    """Return how many events of the workspace are new. What was known before has been counted before."""
    return sum(
        isinstance(answer, Recorded) and not answer.duplicate
        for (grant, _), found in zip(requests, answers, strict=True)
        if grant.workspace_id == workspace_id and not isinstance(found, DayIsFull)
        for answer in found
    )


_BEGIN_DAY = """
INSERT INTO routing_dailyevents (workspace_id, day, events)
SELECT id, (now() AT TIME ZONE 'utc')::date, 0 FROM unnest(%s::uuid[]) AS id
ON CONFLICT (workspace_id, day) DO NOTHING
"""
# In the order of workspaces, so that two transactions never wait for each other in a ring.
_TODAY = """
SELECT workspace_id, events FROM routing_dailyevents
WHERE workspace_id = ANY(%s) AND day = (now() AT TIME ZONE 'utc')::date
ORDER BY workspace_id FOR NO KEY UPDATE
"""
_COUNT = """
UPDATE routing_dailyevents AS kept SET events = kept.events + new.events
FROM unnest(%s::uuid[], %s::bigint[]) AS new(workspace_id, events)
WHERE kept.workspace_id = new.workspace_id AND kept.day = (now() AT TIME ZONE 'utc')::date
"""
