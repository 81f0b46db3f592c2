"""Many patterns at once: an event is held against those that it may match, not against all that there are.

Each alternative of a pattern is filed under one of its fields, the one that the fewest others share. What the event has
at that path finds the pattern again, which then decides. A pattern all of whose conditions can hold on nothing
(`exists: false`), or that has none, is held against every event.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

from endpoints.patterns.conditions import ABSENT, PRESENT, Condition
from endpoints.patterns.matching import Node, Pattern, parted, plan
from endpoints.patterns.parse import Alternative, Field, Path
from endpoints.patterns.verdicts import Verdicts

Owner = TypeVar("Owner")
Numbers = frozenset[int]

TOGETHER = 32  # candidates of a group, from which on all of it is matched at once
_GROUP = 1_000  # alternatives


class Index(Generic[Owner]):
    """Patterns, each with whom it belongs to."""

    def __init__(self, patterns: Sequence[tuple[Pattern, Owner]], *, together: int = TOGETHER) -> None:
        self._patterns, self._together = patterns, together
        sharing = Counter(
            key
            for pattern, _ in patterns
            for alternative in pattern.alternatives
            for field in alternative
            for key in _shared_by(field)
        )
        always: set[int] = set()
        filed: dict[Path, list[tuple[int, Field]]] = {}
        for number, (pattern, _) in enumerate(patterns):
            for alternative in pattern.alternatives:
                field = _field_of_fewest(alternative, sharing)
                if field is None:
                    always.add(number)
                else:
                    filed.setdefault(field.path, []).append((number, field))
        self._always = frozenset(always)
        self._root = _Place.of(filed)
        self._groups = _grouped([pattern for pattern, _ in patterns])

    def matching(self, event: Mapping[str, Any]) -> Iterator[Owner]:
        """Return whom the patterns belong to that match."""
        candidates: dict[_Group, list[int]] = {}
        for number in self._always.union(*self._root.in_object(event)):
            candidates.setdefault(self._groups[number], []).append(number)
        for group, numbers in candidates.items():
            matching = group.matching(event) if len(numbers) >= self._together else numbers
            for number in matching:
                pattern, owner = self._patterns[number]
                if matching is not numbers or pattern.match(event):
                    yield owner


class _Group:
    """Patterns that are matched together, as if they were one, where an event may match many of them.

    One by one they would cost the size of the event each: that of an array of all their values, for one.
    """

    def __init__(self) -> None:
        self._alternatives: list[Alternative] = []
        self._numbers: list[int] = []  # of the pattern that each alternative is of

    @cached_property
    def _plan(self) -> Node:
        return plan(self._alternatives)

    def __len__(self) -> int:
        return len(self._alternatives)

    def add(self, number: int, pattern: Pattern) -> None:
        self._alternatives += pattern.alternatives
        self._numbers += [number] * len(pattern.alternatives)

    def matching(self, event: Mapping[str, Any]) -> set[int]:
        held = f"{self._plan.in_object(event):b}"
        return {number for number, bit in zip(self._numbers, reversed(held), strict=False) if bit == "1"}


def _grouped(patterns: Iterable[Pattern]) -> list[_Group]:
    """Return the group of each pattern."""
    group, groups = _Group(), []
    for number, pattern in enumerate(patterns):
        if len(group) >= _GROUP:
            group = _Group()
        group.add(number, pattern)
        groups.append(group)
    return groups


class _Place:
    """The patterns that are filed under one path or under those that begin with it."""

    def __init__(self) -> None:
        self.children: dict[str, _Place] = {}
        self.verdicts: Verdicts[Numbers] | None = None

    @classmethod
    def of(cls, filed: Mapping[Path, Iterable[tuple[int, Field]]]) -> "_Place":
        root = cls()
        for path, fields in filed.items():
            place = root
            for name in path:
                place = place.children.setdefault(name, cls())
            place.verdicts = Verdicts(
                (
                    (_filed_as(condition), frozenset([number]))
                    for number, field in fields
                    for condition in field.conditions
                ),
                _join_numbers,
            )
        return root

    def in_object(self, value: Mapping[str, Any]) -> Iterator[Numbers]:
        for name in self.children.keys() & value.keys():
            yield from self.children[name].on(value[name])

    def on(self, value: Any) -> Iterator[Numbers]:
        if isinstance(value, dict):
            yield from self.in_object(value)
        elif isinstance(value, list):
            scalars, objects = parted(value)
            if self.verdicts is not None and scalars:
                yield self.verdicts.on_one_of(scalars)
            if self.children:
                for element in objects:
                    yield from self.in_object(element)
        elif self.verdicts is not None:
            yield self.verdicts.on(value)


def _field_of_fewest(alternative: Alternative, sharing: Mapping[Any, int]) -> Field | None:
    present = [field for field in alternative if ABSENT not in field.conditions]
    return min(present, key=lambda field: max(_weights(field, sharing)), default=None)


def _weights(field: Field, sharing: Mapping[Any, int]) -> Iterator[float]:
    """Return how many fields each condition is likely to be found together with: of ranges, half of those there are."""
    for key in _shared_by(field):
        yield sharing[key] / 2 if key[1] in ("numeric", "cidr") else sharing[key]


def _shared_by(field: Field) -> Iterator[tuple[Any, ...]]:
    """Return what fields have in common that one value finds together."""
    for condition in map(_filed_as, field.conditions):
        yield field.path, condition.kind, None if condition.kind in ("numeric", "cidr") else condition.operand


def _filed_as(condition: Condition) -> Condition:
    """Return what holds wherever `condition` does, and can be looked up."""
    if condition.kind == "wildcard":
        first, *_, last = condition.operand.parts
        return Condition("prefix", first) if first else Condition("suffix", last) if last else PRESENT
    return PRESENT if condition.kind == "anything-but" else condition


def _join_numbers(sets: Iterable[Numbers]) -> Numbers:
    return frozenset().union(*sets)
