"""From JSON to a pattern: what each list means, where it stands, and which alternatives $or makes of it."""

import json
from dataclasses import dataclass
from itertools import chain, product
from math import prod
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from endpoints.errors import BadInput
from endpoints.patterns.conditions import ABSENT, OPERATORS, RANGES, Condition, parse_condition
from endpoints.patterns.errors import check_storable, is_, refusal, shown
from endpoints.patterns.published import as_pattern

FIELDS = ("id", "type", "date", "source", "subject", "workspaceId", "data")
OR = "$or"
MAX_SIZE = 256 * 1024  # characters of a pattern as JSON
MAX_DEPTH = 20
MAX_FIELDS = 100  # that have a list
MAX_VALUES = 1_000  # of one list
MAX_RANGES = 200  # of one pattern
MAX_WILDCARDS = 10  # of one pattern: each reads the whole of a text
MAX_ALTERNATIVES = 1_024  # that the $or of one pattern make together
ALTERNATIVES = gettext_noop("alternatives by its $or")


Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """What the value at `path` may be: any of `conditions`."""

    path: Path
    conditions: tuple[Condition, ...]


Alternative = tuple[Field, ...]  # all of them must hold


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the parser is."""

    at: str = "pattern"  # in the pattern
    path: Path = ()  # in the event
    depth: int = 0
    in_or: bool = False

    def member(self, name: str) -> "_Place":
        return _Place(f"{self.at}.{name}", (*self.path, name), self.depth + 1, self.in_or)

    def branch(self, number: int) -> "_Place":
        return _Place(f"{self.at}.{OR}[{number}]", self.path, self.depth + 1, in_or=True)


def alternatives_of(definition: Any) -> tuple[Alternative, ...]:
    """Return what the filter that {"pattern": {...}} or {"in": {...}} describes wants: any of these.

    Raises BadInput with the path of what is wrong.
    """
    if not isinstance(definition, dict) or len(definition) != 1 or not definition.keys() <= {"pattern", "in"}:
        raise BadInput(_('a filter is either {"pattern": {...}} or {"in": {...}}.'), "definition")
    pattern = as_pattern(definition["in"]) if "in" in definition else definition["pattern"]
    if not isinstance(pattern, dict):
        said = _("the pattern is %(given)s; write an object of %(known)s.")
        raise BadInput(said % {"given": shown(pattern), "known": ", ".join(FIELDS)}, "pattern")
    alternatives: list[Alternative] = _parse_object(_Place(), pattern) if pattern else [()]
    _check_limits(pattern, alternatives)
    return tuple(alternatives)


def _parse_object(place: _Place, node: dict[str, Any]) -> list[Alternative]:
    if not node:
        raise refusal(place.at, _("is an empty object"), _("leave it out for no condition"))
    if place.depth > MAX_DEPTH:
        raise refusal(place.at, _("is nested over %(most)s deep") % {"most": MAX_DEPTH}, _("make it flatter"))
    for name in node:
        _check_name(place, name)
    return _all_of(
        [_parse_or(place, child) if name == OR else _parse(place.member(name), child) for name, child in node.items()]
    )


def _check_name(place: _Place, name: str) -> None:
    if not place.path and name not in (*FIELDS, OR):
        at = place.member(name).at
        said = _("%(name)s in %(path)s is no field to filter by; use %(known)s or %(or)s.")
        found = {"name": shown(name), "path": place.at, "known": ", ".join(FIELDS), "or": OR}
        raise BadInput(said % found, at)
    if place.in_or and name in OPERATORS:
        allowed = _("name the field and write {...: [{%(name)s: ...}]}") % {"name": name}
        raise refusal(place.at, _("has the operator %(name)s as a field") % {"name": name}, allowed)
    check_storable(place.at, name)


def _parse(place: _Place, node: Any) -> list[Alternative]:
    if isinstance(node, list):
        return _parse_list(place, node)
    nests = place.path[0] == "data"
    if isinstance(node, dict) and nests:
        return _parse_object(place, node)
    raise refusal(
        place.at, is_(node), _("write a list of values or an object") if nests else _("write a list of values")
    )


def _parse_list(place: _Place, values: list[Any]) -> list[Alternative]:
    if not values:
        raise refusal(place.at, _("is an empty list, which no event matches"), _("leave it out for no condition"))
    if len(values) > MAX_VALUES:
        given = _("has %(given)s values") % {"given": len(values)}
        raise refusal(place.at, given, _("at most %(most)s are compared") % {"most": MAX_VALUES})
    conditions = [parse_condition(place.at, value) for value in values]
    present = tuple(condition for condition in conditions if condition != ABSENT)
    kinds = [present] if present else []
    if len(present) < len(conditions):
        kinds.append((ABSENT,))
    return [(Field(place.path, kind),) for kind in kinds]


def _parse_or(place: _Place, branches: Any) -> list[Alternative]:
    at = f"{place.at}.{OR}"
    if not isinstance(branches, list) or len(branches) < 2 or not all(isinstance(branch, dict) for branch in branches):
        raise refusal(at, is_(branches), _("write a list of two objects or more"))
    return [
        alternative
        for number, branch in enumerate(branches)
        for alternative in _parse_object(place.branch(number), branch)
    ]


def _all_of(found: list[list[Alternative]]) -> list[Alternative]:
    """Return each way to choose one alternative of each."""
    count = prod(map(len, found))
    if count > MAX_ALTERNATIVES:
        raise _too_much(count, ALTERNATIVES, MAX_ALTERNATIVES)
    return [tuple(chain.from_iterable(chosen)) for chosen in product(*found)]


def _check_limits(pattern: dict[str, Any], alternatives: list[Alternative]) -> None:
    fields = {id(field): field for alternative in alternatives for field in alternative}.values()
    conditions = [condition for field in fields for condition in field.conditions]
    conditions += [inner for outer in conditions if outer.kind == "anything-but" for inner in outer.operand]
    for found, limit, what in (
        (len(alternatives), MAX_ALTERNATIVES, ALTERNATIVES),
        (len(fields), MAX_FIELDS, gettext_noop("fields")),
        (
            sum(condition.kind in RANGES for condition in conditions),
            MAX_RANGES,
            gettext_noop("values that are no exact ones"),
        ),
        (sum(condition.kind == "wildcard" for condition in conditions), MAX_WILDCARDS, gettext_noop("wildcards")),
        (len(json.dumps(pattern, ensure_ascii=False)), MAX_SIZE, gettext_noop("characters of JSON")),
    ):
        if found > limit:
            raise _too_much(found, what, limit)


def _too_much(found: int, what: str, most: int) -> BadInput:
    said = _("the pattern has %(given)s %(what)s; at most %(most)s are allowed.")
    return BadInput(said % {"given": found, "what": _(what), "most": most}, "pattern")
