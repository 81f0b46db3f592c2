"""What a workspace enforces of its events: for each type the schema that `data` must fit, or is warned of.

Each process keeps the rules of a version of the workspace's types. The door judges by what it keeps, before the
transaction that records; that transaction asks whether the version still stands.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from endpoints.errors import BadInput
from endpoints.json_schema import Schema
from endpoints.models import EventType
from routing import plans
from routing.plans import Ask, Plan
from routing.submissions import NewEvent

logger = logging.getLogger(__name__)

MAX_WORKSPACES = 1_000  # whose rules one process keeps
MAX_COMPILED = 1_000  # schemas


class Problem(NamedTuple):
    """What is wrong with an event's data, and whether it is refused for it."""

    refusal: BadInput
    rejects: bool


class Rule(NamedTuple):
    enforcement: str
    schema: str  # its JSON text


@dataclass(frozen=True, slots=True)
class Judgement:
    """The problems of some events, by the rules of one version."""

    version: int
    problems: Mapping[UUID, Problem]


@dataclass(frozen=True, slots=True)
class Rules:
    """What is enforced at one version of a workspace's types; most workspaces enforce nothing."""

    version: int
    by_type: Mapping[str, Rule]

    def problem(self, event: NewEvent) -> Problem | None:
        rule = self.by_type.get(event.type)
        schema = rule and _compiled(rule.schema)
        refusal = schema and schema.problem(event.value, event.data)
        return Problem(refusal, rule.enforcement == EventType.Enforcement.REJECT) if rule and refusal else None

    def judge(self, events: Sequence[NewEvent]) -> Judgement:
        found = {event.id: self.problem(event) for event in events if event.type in self.by_type}
        return Judgement(self.version, {id_: problem for id_, problem in found.items() if problem})


_kept: dict[UUID, Rules] = {}


def kept(workspace_id: UUID) -> Rules | None:
    """Return the rules that this process knows, which may be old."""
    return _kept.get(workspace_id)


def load(workspace_id: UUID) -> Rules:
    """Return the rules as they stand."""
    return plans.run(standing(workspace_id))


def standing(workspace_id: UUID) -> Plan[Rules]:
    """Return the rules that this transaction sees, read anew where the version is another than the one that is kept."""
    rows = yield Ask(_VERSION, [workspace_id])
    (version,) = rows[0]
    rules = _kept.pop(workspace_id, None)
    if rules is None or rules.version != version:
        found = yield Ask(_RULES, [workspace_id])
        rules = Rules(version, {type: Rule(enforcement, schema) for type, enforcement, schema in found})
    _kept[workspace_id] = rules  # last in, so that the first is the one unused for longest
    if len(_kept) > MAX_WORKSPACES:
        _kept.pop(next(iter(_kept)), None)
    return rules


@lru_cache(maxsize=MAX_COMPILED)
def _compiled(schema: str) -> Schema | None:
    """Return the schema. One that other hands wrote and nobody can read enforces nothing."""
    try:
        return Schema(json.loads(schema))
    except BadInput as refusal:
        logger.error("An event type's schema can't be read and is not enforced: %s", refusal)
        return None


_VERSION = "SELECT types_version FROM endpoints_workspace WHERE id = %s"
_RULES = """
SELECT name, enforcement, schema::text FROM endpoints_eventtype WHERE workspace_id = %s AND enforcement <> 'OFF'
"""
