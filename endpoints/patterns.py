"""The filter language: parse and match.

A pattern names fields of the event, and under each what it may be:

    {"type": ["order.paid", "order.refunded"], "data": {"customer": {"country": ["DE"]}, "tags": ["urgent"]}}

Inside a list any value will do; across fields all must match; objects nest; an array in the event matches when
one of its elements does; a path that the event does not have never matches. Values are compared exactly (1 is
1.0, but not "1" and not true); {"equals-ignore-case": "text"} in a list leaves the case of letters open.

The published form {"in": {"eventTypes": [...], "cameraIds": [...]}} is a pattern in other words.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from endpoints.errors import BadInput

FIELDS = ("type", "source", "subject", "data")
PUBLISHED_DATA_FIELDS = {"cameraIds": "cameraId", "agentIds": "agentId", "profileGroupIds": "profileGroupIds"}
MAX_DEPTH = 20
MAX_VALUES = 1_000
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # NUL and half of a surrogate pair, which PostgreSQL's jsonb refuses


@dataclass(frozen=True, slots=True)
class Values:
    """The leaf of a pattern: what one value may be."""

    exact: frozenset[tuple[str, Any]]
    folded: frozenset[str]  # strings whose case does not matter

    def admit(self, value: Any) -> bool:
        if isinstance(value, str) and value.casefold() in self.folded:
            return True
        return (_kind(value), value) in self.exact


@dataclass(frozen=True, slots=True)
class Fields:
    """The branch of a pattern: what the members of an object must be, all of them."""

    members: Mapping[str, "Values | Fields"]

    def match(self, value: Mapping[str, Any]) -> bool:
        return all(name in value and _matches(node, value[name]) for name, node in self.members.items())


def parse_definition(definition: Any) -> Fields:
    """Return the filter that {"pattern": {...}} or {"in": {...}} describes.

    Raises BadInput with the path of what is wrong.
    """
    if not isinstance(definition, dict) or len(definition) != 1 or not definition.keys() <= {"pattern", "in"}:
        raise BadInput('a filter is either {"pattern": {...}} or {"in": {...}}.', "definition")
    if "in" in definition:
        return parse_pattern(_published(definition["in"]))
    return parse_pattern(definition["pattern"])


def parse_pattern(pattern: Any) -> Fields:
    """Return the filter that `pattern` describes; {} is every event. Raises BadInput."""
    if not isinstance(pattern, dict):
        raise BadInput(f"the pattern is {_shown(pattern)}; write an object of {', '.join(FIELDS)}.", "pattern")
    for name in pattern:
        if name not in FIELDS:
            raise BadInput(f"{name!r} is no field to filter by; use {', '.join(FIELDS)}.", f"pattern.{name}")
    return Fields({name: _parse(f"pattern.{name}", node, nests=name == "data") for name, node in pattern.items()})


def _parse(path: str, node: Any, *, nests: bool, depth: int = 1) -> Values | Fields:
    if isinstance(node, list):
        return _parse_values(path, node)
    if not isinstance(node, dict) or not nests:
        wanted = "a list of values or an object" if nests else "a list of values"
        raise BadInput(f"{path} is {_shown(node)}; write {wanted}.", path)
    if not node:
        raise BadInput(f"{path} is an empty object; leave it out for no condition.", path)
    if depth > MAX_DEPTH:
        raise BadInput(f"{path} is nested over {MAX_DEPTH} deep.", path)
    for name in node:
        _check_storable(path, name)
    return Fields({name: _parse(f"{path}.{name}", child, nests=True, depth=depth + 1) for name, child in node.items()})


def _parse_values(path: str, values: list[Any]) -> Values:
    if not values:
        raise BadInput(f"{path} is an empty list, which no event matches; leave it out for no condition.", path)
    if len(values) > MAX_VALUES:
        raise BadInput(f"{path} has {len(values)} values; at most {MAX_VALUES} are compared.", path)
    exact, folded = set(), set()
    for value in values:
        if isinstance(value, dict) and value.keys() == {"equals-ignore-case"}:
            text = value["equals-ignore-case"]
            if not isinstance(text, str):
                raise BadInput(f"equals-ignore-case in {path} is {_shown(text)}; write a string.", path)
            _check_storable(path, text)
            folded.add(text.casefold())
        elif value is None or isinstance(value, str | int | float):
            _check_storable(path, value)
            exact.add((_kind(value), value))
        else:
            raise BadInput(
                f"{path} holds {_shown(value)}; "
                'write strings, numbers, true, false, null or {"equals-ignore-case": "text"}.',
                path,
            )
    return Values(frozenset(exact), frozenset(folded))


def _check_storable(path: str, value: str | float | None) -> None:
    bad = _UNSTORABLE.search(value) if isinstance(value, str) else isinstance(value, float) and not math.isfinite(value)
    if bad:
        raise BadInput(f"{path} holds {_shown(value)}, which can't be stored; no event holds it either.", path)


def _published(conditions: Any) -> dict[str, Any]:
    """Return the pattern that the published `in` form stands for."""
    if not isinstance(conditions, dict):
        raise BadInput(f"in is {_shown(conditions)}; write an object.", "in")
    pattern: dict[str, Any] = {}
    for name, wanted in conditions.items():
        if name != "eventTypes" and name not in PUBLISHED_DATA_FIELDS:
            known = ", ".join(["eventTypes", *PUBLISHED_DATA_FIELDS])
            raise BadInput(f"{name!r} is no field of in; use {known}.", f"in.{name}")
        if wanted is None:
            continue
        if not isinstance(wanted, list) or not wanted or not all(isinstance(value, str) for value in wanted):
            raise BadInput(f"in.{name} is {_shown(wanted)}; write a list of strings, not empty.", f"in.{name}")
        if name == "eventTypes":
            pattern["type"] = [{"equals-ignore-case": value} for value in wanted]
        else:
            pattern.setdefault("data", {})[PUBLISHED_DATA_FIELDS[name]] = wanted
    return pattern


def _matches(node: Values | Fields, value: Any) -> bool:
    if isinstance(value, list):
        return any(_matches(node, element) for element in value)
    if isinstance(node, Values):
        return not isinstance(value, dict) and node.admit(value)
    return isinstance(value, dict) and node.match(value)


def _kind(value: Any) -> str:
    """Tell true from 1, which Python holds to be equal."""
    return "bool" if isinstance(value, bool) else "number" if isinstance(value, int | float) else type(value).__name__


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
