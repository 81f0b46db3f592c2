"""Which of many conditions hold on one value, in about the time that one of them takes.

What a condition stands for is a set: bits of an int in matching.py, numbers of patterns in index.py. Texts and numbers
are looked up; beginnings, ends, ranges of numbers and networks are all intervals of something that has an order.
"""

import re
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from itertools import chain
from operator import and_, or_
from types import NoneType
from typing import Any, Generic

from endpoints.patterns.conditions import Condition, address_key
from endpoints.patterns.intervals import INTERVAL_OF, Intervals, Join, Set
from endpoints.patterns.wildcards import Wildcard

Found = dict[str, list[tuple[Any, Set]]]  # by kind of condition: operands, and what they stand for

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_DOTTED = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}").fullmatch  # cheaper than an exception
_LOOKED_UP = {"text", "number", "literal", "exists", "numeric", "anything-but"}


def join_bits(sets: Iterable[int]) -> int:
    return reduce(or_, sets, 0)


class Verdicts(Generic[Set]):
    """Conditions, each with the set that stands for it."""

    def __init__(self, conditions: Iterable[tuple[Condition, Set]], join: Join[Set]) -> None:
        found: Found[Set] = {}
        for condition, held in conditions:
            found.setdefault(condition.kind, []).append((condition.operand, held))
        self._join, self._none = join, join(())
        self.on_any = join(held for _, held in found.get("exists", ()))
        self._texts = _table(found, "text", join)
        self._numbers = _table(found, "number", join)
        self._literals = _table(found, "literal", join)
        self._on_text = _Texts(found, join) if found.keys() - _LOOKED_UP else None
        self._ranges = _intervals(found, "numeric", join)
        self._excluding = [held for _, held in found.get("anything-but", ())]
        self._excluded = Verdicts(_numbered(found["anything-but"]), join_bits) if self._excluding else None

    def on(self, value: Any) -> Set:
        """Return what stands for the conditions that hold on `value`, which is neither an array nor an object."""
        kind = type(value)
        if kind is str:
            held = self._texts.get(value, self._none)
            if self._on_text is not None:
                held |= self._on_text.on(value)
        elif kind is int or kind is float:
            held = self._numbers.get(value, self._none)
            if self._ranges is not None:
                held |= self._ranges.at(value)
        else:
            held = self._literals.get(value, self._none)
        if self._excluded is not None:
            held |= self._not_excluded(self._excluded.on(value))
        held |= self.on_any
        return held

    def by_text(self) -> dict[str, Set] | None:
        """Return `on` of texts, for all others being `on_any`; None where a text takes more than a look-up."""
        if self._on_text is not None or self._excluded is not None:
            return None
        return {text: held | self.on_any for text, held in self._texts.items()}

    def on_one_of(self, values: Collection[Any]) -> Set:
        """Return what stands for the conditions that hold on one of `values`, which are many."""
        parts = _by_type(values)
        texts, literals = parts.pop(str, ()), [*parts.pop(bool, ()), *parts.pop(NoneType, ())]
        numbers = list(chain(*parts.values())) if len(parts) > 1 else next(iter(parts.values()), ())
        held = [self.on_any, *_looked_up(self._texts, texts), *_looked_up(self._literals, literals)]
        held += _looked_up(self._numbers, numbers)
        if self._on_text is not None and texts:
            held += self._on_text.on_one_of(texts)
        if self._ranges is not None and numbers:
            held.append(self._ranges.at_one_of(numbers))
        if self._excluded is not None:
            held.append(
                self._not_excluded(reduce(and_, map(self._excluded.on, (*{*texts}, *{*numbers}, *{*literals}))))
            )
        return self._join(held)

    def _not_excluded(self, excluded: int) -> Set:
        return self._join(held for number, held in enumerate(self._excluding) if not excluded >> number & 1)


class _Texts(Generic[Set]):
    """What takes more than a look-up to say of a text."""

    def __init__(self, found: Found[Set], join: Join[Set]) -> None:
        self._none = join(())
        self._prefixes = _intervals(found, "prefix", join)
        self._suffixes = _intervals(found, "suffix", join)
        self._networks = _intervals(found, "cidr", join)
        self._folds = any(kind.startswith("folded") for kind in found)
        self._folded = _table(found, "folded", join)
        self._folded_prefixes = _intervals(found, "folded prefix", join)
        self._folded_suffixes = _intervals(found, "folded suffix", join)
        self._wildcards: Sequence[tuple[Wildcard, Set]] = found.get("wildcard", ())

    def on(self, text: str) -> Set:
        held = self._none
        if self._prefixes is not None:
            held = self._prefixes.at(text)
        if self._suffixes is not None:
            held |= self._suffixes.at(text[::-1])
        if self._folds:
            held |= self._on_folded(text.casefold())
        if self._networks is not None:
            held |= self._networks.at(_address_key(text))
        for wildcard, of_wildcard in self._wildcards:
            if wildcard.holds(text):
                held |= of_wildcard
        return held

    def _on_folded(self, text: str) -> Set:
        held = self._folded.get(text, self._none)
        if self._folded_prefixes is not None:
            held |= self._folded_prefixes.at(text)
        if self._folded_suffixes is not None:
            held |= self._folded_suffixes.at(text[::-1])
        return held

    def on_one_of(self, texts: Collection[str]) -> Iterable[Set]:
        if self._prefixes is not None:
            yield self._prefixes.at_one_of(texts)
        if self._suffixes is not None:
            yield self._suffixes.at_one_of([text[::-1] for text in texts])
        if self._folds:
            yield from self._on_one_folded([text.casefold() for text in texts])
        if self._networks is not None:
            yield self._networks.at_one_of(_address_keys(texts))
        for wildcard, held in self._wildcards:
            if wildcard.holds_on_one_of(texts):
                yield held

    def _on_one_folded(self, texts: Collection[str]) -> Iterable[Set]:
        yield from _looked_up(self._folded, texts)
        if self._folded_prefixes is not None:
            yield self._folded_prefixes.at_one_of(texts)
        if self._folded_suffixes is not None:
            yield self._folded_suffixes.at_one_of([text[::-1] for text in texts])


def _table(found: Found[Set], kind: str, join: Join[Set]) -> dict[Any, Set]:
    table: dict[Any, list[Set]] = {}
    for value, held in found.get(kind, ()):
        table.setdefault(value, []).append(held)
    return {value: join(sets) for value, sets in table.items()}


def _by_type(values: Collection[Any]) -> dict[type, Collection[Any]]:
    kinds = set(map(type, values))
    if len(kinds) == 1:
        return {kinds.pop(): values}
    return {kind: [value for value in values if type(value) is kind] for kind in kinds}


def _looked_up(table: Mapping[Any, Set], values: Collection[Any]) -> list[Set]:
    return [table[value] for value in table.keys() & values]


def _intervals(found: Found[Set], kind: str, join: Join[Set]) -> Intervals[Set] | None:
    interval_of = INTERVAL_OF[kind]
    conditions = found.get(kind)
    return Intervals([(interval_of(operand), held) for operand, held in conditions], join) if conditions else None


def _numbered(exclusions: Iterable[tuple[Iterable[Condition], Any]]) -> Iterable[tuple[Condition, int]]:
    for number, (excluded, _) in enumerate(exclusions):
        for condition in excluded:
            yield condition, 1 << number


def _address_keys(texts: Collection[str]) -> list[bytes]:
    """Return the keys of those texts that may be addresses. Many texts are none, and told apart without a call each."""
    dotted = [text for text, is_dotted in zip(texts, map(_DOTTED, texts), strict=True) if is_dotted]
    return [_address_key(text) for text in (*dotted, *(text for text in texts if ":" in text))]


def _address_key(text: str) -> bytes:
    """Return where an IP address lies among the bounds of networks; what is none lies before all of them."""
    if ":" not in text and not _DOTTED(text):
        return b""
    try:
        return address_key(socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text))
    except (OSError, ValueError):
        return b""
