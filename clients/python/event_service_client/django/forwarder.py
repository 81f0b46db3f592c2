"""From the outbox to the service: claim, send, settle. No transaction is open while a request is on the wire."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from event_service_client import Client, EventRefused, EventsRefused, Published, RequestRefused
from event_service_client.django.models import OutboxEvent, State
from event_service_client.django.outbox import as_event

LEASE = timedelta(minutes=1)  # longer than a request may take; after it another forwarder sends the rows once more
PAUSES_S = (1, 10, 60, 600)  # after each refusal of an event; after one more it is set aside
_THE_EVENTS_FAULT = (400, 413)  # statuses of requests of which no event could be read


@dataclass(frozen=True)
class Forwarded:
    sent: int = 0
    refused: int = 0

    def __add__(self, other: "Forwarded") -> "Forwarded":
        return Forwarded(self.sent + other.sent, self.refused + other.refused)


class Forwarder:
    """Any number may run at once. Of each ordering key one event at a time is on its way, so that none overtakes
    another that was refused and is tried again."""

    def __init__(self, client: Client, *, database: str = "default", batch: int = 500) -> None:
        self._client, self._database, self._batch = client, database, batch

    def forward(self) -> Forwarded:
        """Send one batch, and return how many were; nothing where nothing is due.

        Raises Unavailable or RequestRefused, after which every row is still there.
        """
        claim = uuid4()
        rows = self._claim(claim)
        try:
            return self._send(claim, rows)
        except BaseException:
            self._mine(claim).update(due_at=timezone.now(), claim=None)
            raise

    def _rows(self) -> QuerySet[OutboxEvent]:
        return OutboxEvent.objects.using(self._database).filter(state=State.WAITING)

    def _mine(self, claim: UUID) -> QuerySet[OutboxEvent]:
        return self._rows().filter(claim=claim)

    def _claim(self, claim: UUID) -> list[OutboxEvent]:
        now = timezone.now()
        with transaction.atomic(using=self._database):
            earlier = self._rows().filter(ordering_key=OuterRef("ordering_key"), id__lt=OuterRef("id"))
            first = self._rows().exclude(Exists(earlier.exclude(ordering_key="")))
            found = first.filter(due_at__lte=now).select_for_update(skip_locked=True).order_by("id")
            ids = [row.id for row in found[: self._batch]]
            # Where rows can't be locked (SQLite), two may have found the same: one of them gets it.
            self._rows().filter(id__in=ids, due_at__lte=now).update(due_at=now + LEASE, claim=claim)
        return list(self._mine(claim).order_by("id"))

    def _send(self, claim: UUID, rows: Sequence[OutboxEvent]) -> Forwarded:
        if not rows:
            return Forwarded()
        try:
            self._client.publish_many([as_event(row) for row in rows])
        except EventsRefused as refused:
            return self._settle(claim, rows, refused.results)
        except RequestRefused as refused:
            if refused.status not in _THE_EVENTS_FAULT:
                raise
            return self._divide(claim, rows, refused)
        return self._settle(claim, rows, [None] * len(rows))

    def _divide(self, claim: UUID, rows: Sequence[OutboxEvent], refused: RequestRefused) -> Forwarded:
        """Find the one event that spoils a request for all others."""
        if len(rows) == 1:
            refusal = EventRefused(str(rows[0].event_id), "BAD_REQUEST", refused.message, None)
            return self._settle(claim, rows, [refusal])
        middle = len(rows) // 2
        return self._send(claim, rows[:middle]) + self._send(claim, rows[middle:])

    def _settle(
        self, claim: UUID, rows: Sequence[OutboxEvent], results: Sequence[Published | EventRefused | None]
    ) -> Forwarded:
        """Delete what the service has. Rows that meanwhile belong to another forwarder are left to it."""
        refusals = {
            row.id: result for row, result in zip(rows, results, strict=True) if isinstance(result, EventRefused)
        }
        sent = [row.id for row in rows if row.id not in refusals]
        with transaction.atomic(using=self._database):
            self._mine(claim).filter(id__in=sent).delete()
            for row in rows:
                if row.id in refusals:
                    self._refuse(claim, row, refusals[row.id])
        return Forwarded(len(sent), len(refusals))

    def _refuse(self, claim: UUID, row: OutboxEvent, refusal: EventRefused) -> None:
        refusals = row.refusals + 1
        changes = {"refusals": refusals, "problem": f"{refusal.code}: {refusal.message}"}
        if refusals > len(PAUSES_S):
            self._mine(claim).filter(id=row.id).update(state=State.SET_ASIDE, claim=None, **changes)
        else:
            due_at = timezone.now() + timedelta(seconds=PAUSES_S[refusals - 1])
            self._mine(claim).filter(id=row.id).update(due_at=due_at, claim=None, **changes)
