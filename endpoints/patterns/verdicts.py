"""Which of many conditions hold on one value, in about the time that one of them takes.

A set of conditions is an int with a bit for each. Texts and numbers are looked up; beginnings, ends, ranges of numbers
and networks are all intervals of something that has an order, and so is where a value lies among their bounds.
"""

import socket
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import reduce
from itertools import repeat
from operator import and_, or_
from types import NoneType
from typing import Any

from endpoints.patterns.conditions import Condition, address_key
from endpoints.patterns.wildcards import Wildcard

_LAST = "\U0010ffff"


Bound = tuple[Any, int]  # just before a key (0) or just behind it (1)


class Intervals:
    """Which of many intervals, from one bound to another (None: without end), a key lies in."""

    def __init__(self, intervals: Sequence[tuple[Bound, Bound | None, int]]) -> None:
        bounds = [bound for low, high, _ in intervals for bound in (low, high) if bound is not None]
        self._keys = sorted({key for key, _ in bounds})
        self._bits = [0] * (2 * len(self._keys) + 1)  # before the first key, at it, between it and the next, ...
        for low, high, bits in intervals:
            for cell in range(self._cell_behind(low), len(self._bits) if high is None else self._cell_behind(high)):
                self._bits[cell] |= bits

    def _cell_behind(self, bound: Bound) -> int:
        return 2 * bisect_left(self._keys, bound[0]) + 1 + bound[1]

    def at(self, key: Any) -> int:
        place = bisect_left(self._keys, key)
        return self._bits[2 * place + (place < len(self._keys) and self._keys[place] == key)]

    def at_one_of(self, keys: set[Any]) -> int:
        on = keys.intersection(self._keys)
        cells = [2 * bisect_left(self._keys, key) + 1 for key in on]
        cells += [2 * place for place in set(map(bisect_left, repeat(self._keys), keys - on))]
        return reduce(or_, map(self._bits.__getitem__, cells), 0)


class Verdicts:
    """Conditions, each with the bits that say that it holds."""

    def __init__(self, conditions: Iterable[tuple[Condition, int]]) -> None:
        found: dict[str, list[tuple[Any, int]]] = {}
        for condition, bits in conditions:
            found.setdefault(condition.kind, []).append((condition.operand, bits))
        self._any = _table(found.get("exists", ())).get(None, 0)
        self._texts = _table(found.get("text", ()))
        self._numbers = _table(found.get("number", ()))
        self._literals = _table(found.get("literal", ()))
        self._on_text = Texts.of(found)
        self._ranges = _intervals(found, "numeric", lambda bounds: bounds)
        self._excluding = [bits for _, bits in found.get("anything-but", ())]
        self._excluded = Verdicts(_numbered(found["anything-but"])) if self._excluding else None

    def on(self, value: Any) -> int:
        """Return the bits of all conditions that hold on `value`, which is neither an array nor an object."""
        kind = type(value)
        if kind is str:
            bits = self._texts.get(value, 0)
            if self._on_text is not None:
                bits |= self._on_text.on(value)
        elif kind is int or kind is float:
            bits = self._numbers.get(value, 0)
            if self._ranges is not None:
                bits |= self._ranges.at(value)
        else:
            bits = self._literals.get(value, 0)
        if self._excluded is not None:
            bits |= self._not_excluded(self._excluded.on(value))
        return bits | self._any

    def on_one_of(self, values: Collection[Any]) -> int:
        """Return the bits of all conditions that hold on one of `values`, which are many."""
        kinds = set(map(type, values))
        parts: dict[type, set[Any]] = {kind: {value for value in values if type(value) is kind} for kind in kinds}
        texts, literals = parts.pop(str, set()), parts.pop(bool, set()) | parts.pop(NoneType, set())
        numbers: set[float] = set().union(*parts.values())
        bits = self._any
        for table, found in ((self._texts, texts), (self._literals, literals), (self._numbers, numbers)):
            bits |= _found(table, found)
        if self._on_text is not None and texts:
            bits |= self._on_text.on_one_of(texts)
        if self._ranges is not None and numbers:
            bits |= self._ranges.at_one_of(numbers)
        if self._excluded is not None:
            bits |= self._not_excluded(reduce(and_, map(self._excluded.on, (*texts, *numbers, *literals))))
        return bits

    def _not_excluded(self, excluded: int) -> int:
        bits = 0
        for number, held in enumerate(self._excluding):
            if not excluded >> number & 1:
                bits |= held
        return bits


class Texts:
    """What takes more than a look-up to say of a text."""

    def __init__(self, found: Mapping[str, Sequence[tuple[Any, int]]]) -> None:
        self._prefixes = _intervals(found, "prefix", _beginning)
        self._suffixes = _intervals(found, "suffix", _end)
        self._networks = _intervals(found, "cidr", lambda bounds: bounds)
        self._folds = any(kind.startswith("folded") for kind in found)
        self._folded = _table(found.get("folded", ()))
        self._folded_prefixes = _intervals(found, "folded prefix", _beginning)
        self._folded_suffixes = _intervals(found, "folded suffix", _end)
        self._wildcards: Sequence[tuple[Wildcard, int]] = found.get("wildcard", ())

    @classmethod
    def of(cls, found: Mapping[str, Sequence[tuple[Any, int]]]) -> "Texts | None":
        """Return it, or None where there is nothing to say."""
        return cls(found) if found.keys() - {"text", "number", "literal", "exists", "numeric", "anything-but"} else None

    def on(self, text: str) -> int:
        bits = 0
        if self._prefixes is not None:
            bits = self._prefixes.at(text)
        if self._suffixes is not None:
            bits |= self._suffixes.at(text[::-1])
        if self._folds:
            bits |= self._on_folded(text.casefold())
        if self._networks is not None:
            bits |= self._networks.at(_address_key(text))
        for wildcard, held in self._wildcards:
            if wildcard.holds(text):
                bits |= held
        return bits

    def on_one_of(self, texts: set[str]) -> int:
        bits = 0
        if self._prefixes is not None:
            bits = self._prefixes.at_one_of(texts)
        if self._suffixes is not None:
            bits |= self._suffixes.at_one_of({text[::-1] for text in texts})
        if self._networks is not None:
            bits |= self._networks.at_one_of(set(map(_address_key, texts)))
        if self._folds:
            folded = {text.casefold() for text in texts}
            bits |= _found(self._folded, folded)
            if self._folded_prefixes is not None:
                bits |= self._folded_prefixes.at_one_of(folded)
            if self._folded_suffixes is not None:
                bits |= self._folded_suffixes.at_one_of({text[::-1] for text in folded})
        for wildcard, held in self._wildcards:
            if any(map(wildcard.holds, texts)):
                bits |= held
        return bits

    def _on_folded(self, text: str) -> int:
        bits = self._folded.get(text, 0)
        if self._folded_prefixes is not None:
            bits |= self._folded_prefixes.at(text)
        if self._folded_suffixes is not None:
            bits |= self._folded_suffixes.at(text[::-1])
        return bits


def _found(table: Mapping[Any, int], values: Collection[Any]) -> int:
    return reduce(or_, (table[value] for value in table.keys() & values), 0)


def _numbered(exclusions: Iterable[tuple[Iterable[Condition], int]]) -> Iterable[tuple[Condition, int]]:
    for number, (excluded, _) in enumerate(exclusions):
        for condition in excluded:
            yield condition, 1 << number


def _table(conditions: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    table: dict[Any, int] = {}
    for value, bits in conditions:
        table[value] = table.get(value, 0) | bits
    return table


def _intervals(
    found: Mapping[str, Sequence[tuple[Any, int]]], kind: str, bounds_of: Callable[[Any], tuple[Bound, Bound | None]]
) -> Intervals | None:
    conditions = found.get(kind)
    return Intervals([(*bounds_of(operand), bits) for operand, bits in conditions]) if conditions else None


def _beginning(text: str) -> tuple[Bound, Bound | None]:
    """Return the bounds of all that begin with `text`."""
    stem = text.rstrip(_LAST)
    return (text, 0), ((stem[:-1] + chr(ord(stem[-1]) + 1), 0) if stem else None)


def _end(text: str) -> tuple[Bound, Bound | None]:
    return _beginning(text[::-1])


def _address_key(text: str) -> bytes:
    """Return where an IP address lies among the bounds of networks; what is none lies before all of them."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET if text.count(".") == 3 else None
    if family is None:
        return b""
    try:
        return address_key(socket.inet_pton(family, text))
    except (OSError, ValueError):
        return b""
