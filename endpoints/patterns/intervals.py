"""Which of many intervals of something that has an order a key lies in."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

Bound = tuple[Any, int]  # just before a key (0) or just behind it (1)
Interval = tuple[Bound, Bound | None]  # None: without end

_LAST = "\U0010ffff"
_KNOWN = 10_000  # cells of which it is remembered what holds there


class Joins(Protocol):
    def __or__(self, other: Any, /) -> Any: ...


Set = TypeVar("Set", bound=Joins)
Join = Callable[[Iterable[Set]], Set]


class Intervals(Generic[Set]):
    """Which of many intervals a key lies in.

    The keys make cells: before the first, at it, between it and the next one, and so on. A binary tree over the cells
    holds each interval at few nodes, above all of its cells and no others.
    """

    def __init__(self, intervals: Iterable[tuple[Interval, Set]], join: Join[Set]) -> None:
        intervals = list(intervals)
        bounds = [bound for interval, _ in intervals for bound in interval if bound is not None]
        self._join, self._keys = join, sorted({key for key, _ in bounds})
        self._cells = 2 * len(self._keys) + 1
        nodes: dict[int, list[Set]] = {}
        for interval, held in intervals:
            for node in self._nodes_of(*interval):
                nodes.setdefault(node, []).append(held)
        self._nodes = {node: join(sets) for node, sets in nodes.items()}
        self._known: dict[int, Set] = {}

    def _nodes_of(self, low: Bound, high: Bound | None) -> Iterable[int]:
        node, end = self._cells + self._cell(low), self._cells + (self._cells if high is None else self._cell(high))
        while node < end:
            if node & 1:
                yield node
                node += 1
            if end & 1:
                end -= 1
                yield end
            node, end = node >> 1, end >> 1

    def _cell(self, bound: Bound) -> int:
        return 2 * bisect_left(self._keys, bound[0]) + 1 + bound[1]

    def at(self, key: Any) -> Set:
        place = bisect_left(self._keys, key)
        return self._in_cell(2 * place + (place < len(self._keys) and self._keys[place] == key))

    def at_one_of(self, keys: Collection[Any]) -> Set:
        """Return what holds at one of `keys`. Many of them are sorted, which is cheaper than to look for each."""
        if len(keys) < len(self._keys):
            return self._join(map(self.at, keys))
        ordered, cells, end = sorted(keys), [], 0
        for place, bound in enumerate(self._keys):
            start = bisect_left(ordered, bound, end)
            if start > end:
                cells.append(2 * place)
            end = bisect_right(ordered, bound, start)
            if end > start:
                cells.append(2 * place + 1)
        if end < len(ordered):
            cells.append(2 * len(self._keys))
        return self._join(map(self._in_cell, cells))

    def _in_cell(self, cell: int) -> Set:
        if cell not in self._known:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            node = self._cells + cell
            above = [node >> level for level in range(node.bit_length())]
            self._known[cell] = self._join(self._nodes[each] for each in above if each in self._nodes)
        return self._known[cell]


def _beginning(text: str) -> Interval:
    """Return the bounds of all that begin with `text`."""
    stem = text.rstrip(_LAST)
    return (text, 0), ((stem[:-1] + chr(ord(stem[-1]) + 1), 0) if stem else None)


def _end(text: str) -> Interval:
    return _beginning(text[::-1])


def _range(bounds: Interval) -> Interval:
    return bounds


INTERVAL_OF: Mapping[str, Callable[[Any], Interval]] = MappingProxyType(
    {
        "prefix": _beginning,
        "suffix": _end,
        "folded prefix": _beginning,
        "folded suffix": _end,
        "numeric": _range,
        "cidr": _range,
    }
)
