"""Which of many conditions hold on one value, in about the time that one of them takes.

A set of conditions is an int with a bit for each. Texts and numbers are looked up; beginnings, ends, ranges of numbers
and networks are all intervals of something that has an order, and so is where a value lies among their bounds.
"""

import socket
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from endpoints.patterns.conditions import Condition
from endpoints.patterns.wildcards import Wildcard

_LAST = "\U0010ffff"


class Intervals:
    """Which of many intervals, from a bound and before another one (None: without end), a key lies in."""

    def __init__(self, intervals: Sequence[tuple[Any, Any, int]]) -> None:
        bounds = {low for low, _, _ in intervals} | {high for _, high, _ in intervals if high is not None}
        self._bounds = sorted(bounds)
        self._bits = [0] * (len(self._bounds) + 1)  # the first: before all bounds
        for low, high, bits in intervals:
            end = len(self._bounds) if high is None else bisect_left(self._bounds, high)
            for cell in range(bisect_left(self._bounds, low), end):
                self._bits[cell + 1] |= bits

    def __len__(self) -> int:
        return len(self._bounds)

    def at(self, key: Any) -> int:
        return self._bits[bisect_right(self._bounds, key)]


class Verdicts:
    def __init__(self, conditions: Iterable[tuple[Condition, int]]) -> None:
        """Take conditions, each with the bits that say that it holds."""
        found: dict[str, list[tuple[Any, int]]] = {}
        for condition, bits in conditions:
            found.setdefault(condition.kind, []).append((condition.operand, bits))
        self._texts = _table(found.get("text", ()))
        self._numbers = _table(found.get("number", ()))
        self._literals = _table(found.get("literal", ()))
        self._folded = _table(found.get("folded", ()))
        self._any = _table(found.get("exists", ())).get(None, 0)
        self._prefixes, self._suffixes = _beginnings(found.get("prefix", ())), _ends(found.get("suffix", ()))
        self._folded_prefixes = _beginnings(found.get("folded prefix", ()))
        self._folded_suffixes = _ends(found.get("folded suffix", ()))
        self._ranges = Intervals([(low, high, bits) for (low, high), bits in found.get("numeric", ())])
        self._networks = Intervals([(low, high, bits) for (low, high), bits in found.get("cidr", ())])
        self._wildcards: list[tuple[Wildcard, int]] = found.get("wildcard", [])
        self._excluding = [bits for _, bits in found.get("anything-but", ())]
        self._excluded = None
        if self._excluding:
            self._excluded = Verdicts(
                (inner, 1 << number) for number, (excluded, _) in enumerate(found["anything-but"]) for inner in excluded
            )
        self._reads_text = bool(found.keys() - {"text", "number", "literal", "exists", "numeric", "anything-but"})

    def on(self, value: Any) -> int:
        """Return the bits of all conditions that hold on `value`, which is neither an array nor an object."""
        if isinstance(value, str):
            bits = self._texts.get(value, 0)
            if self._reads_text:
                bits |= self._on_text(value)
        elif value is None or isinstance(value, bool):
            bits = self._literals.get(value, 0)
        else:
            bits = self._numbers.get(value, 0) | self._ranges.at((value, 0))
        if self._excluded:
            bits |= self._not_excluded(self._excluded.on(value))
        return bits | self._any

    def _on_text(self, text: str) -> int:
        bits = 0
        if self._prefixes:
            bits |= self._prefixes.at(text)
        if self._suffixes:
            bits |= self._suffixes.at(text[::-1])
        if self._folded or self._folded_prefixes or self._folded_suffixes:
            folded = text.casefold()
            bits |= self._folded.get(folded, 0) | self._folded_prefixes.at(folded)
            if self._folded_suffixes:
                bits |= self._folded_suffixes.at(folded[::-1])
        if self._networks:
            bits |= self._networks.at(_address_key(text))
        for wildcard, held in self._wildcards:
            if wildcard.holds(text):
                bits |= held
        return bits

    def _not_excluded(self, excluded: int) -> int:
        bits = 0
        for number, held in enumerate(self._excluding):
            if not excluded >> number & 1:
                bits |= held
        return bits


def _table(conditions: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    table: dict[Any, int] = {}
    for value, bits in conditions:
        table[value] = table.get(value, 0) | bits
    return table


def _beginnings(conditions: Iterable[tuple[str, int]]) -> Intervals:
    return Intervals([(text, _behind(text), bits) for text, bits in conditions])


def _ends(conditions: Iterable[tuple[str, int]]) -> Intervals:
    return _beginnings((text[::-1], bits) for text, bits in conditions)


def _behind(prefix: str) -> str | None:
    """Return the first text, in the order of texts, behind all that begin with `prefix`; None where there is none."""
    stem = prefix.rstrip(_LAST)
    return stem[:-1] + chr(ord(stem[-1]) + 1) if stem else None


def _address_key(text: str) -> tuple[int, bytes, int]:
    """Return where an IP address lies among the bounds of networks; what is none lies before all of them."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        packed = socket.inet_pton(family, text)
    except (OSError, ValueError):
        return 0, b"", 0
    return len(packed), packed, 0
