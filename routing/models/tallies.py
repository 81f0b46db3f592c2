"""How many events of which type came, on the way to the types themselves."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import msgspec
from django.db import models
from django.db.models.functions import Now

from endpoints.models import Workspace
from endpoints.models.event_types import PROBLEM_LENGTH
from routing.plans import Plan, Tell
from routing.rules import Problem
from routing.submissions import TEXT_LENGTH, NewEvent


class TypeTally(models.Model):
    """What one transaction recorded of one type. Rows are only ever added, and taken away by folding.py.

    Written with the events, so that no event is counted twice or not at all; and never changed, so that transactions
    that record the same type do not wait for each other.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False, related_name="+")
    type = models.CharField(max_length=TEXT_LENGTH)
    accepted = models.PositiveIntegerField()
    warned = models.PositiveIntegerField()
    rejected = models.PositiveIntegerField()
    problem = models.CharField(max_length=PROBLEM_LENGTH, blank=True)
    event_id = models.UUIDField(null=True)  # one that was accepted, with data
    seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "type tallies"

    def __str__(self) -> str:
        return self.type

    @classmethod
    def adding(cls, events: Iterable[NewEvent], problems: Mapping[UUID, Problem]) -> Plan[None]:
        """Return the plan that counts `events`, each accepted unless its problem rejects it."""
        rows: dict[tuple[UUID, str], dict[str, Any]] = {}
        for event in events:
            key = event.workspace_id, event.type
            row = rows.get(key) or rows.setdefault(key, _new_row(event))
            _count(row, event, problems.get(event.id))
        if rows:
            yield Tell(_ADD, [msgspec.json.encode(list(rows.values())).decode()])


def _new_row(event: NewEvent) -> dict[str, Any]:
    counts = {"accepted": 0, "warned": 0, "rejected": 0}
    return {"workspace_id": event.workspace_id, "type": event.type, **counts, "problem": "", "event_id": None}


def _count(row: dict[str, Any], event: NewEvent, problem: Problem | None) -> None:
    if problem:
        row["problem"] = problem.refusal.message[:PROBLEM_LENGTH]
        row["rejected" if problem.rejects else "warned"] += 1
    if problem is None or not problem.rejects:
        row["accepted"] += 1
        row["event_id"] = event.id if event.data else row["event_id"]


_ADD = """
INSERT INTO routing_typetally (workspace_id, type, accepted, warned, rejected, problem, event_id)
SELECT * FROM json_to_recordset(%s::json)
    AS new(workspace_id uuid, type text, accepted int, warned int, rejected int, problem text, event_id uuid)
"""
