"""A pattern against an event: all alternatives at once, each a bit, in one walk over what the pattern names.

What matches is a choice of one element for each array of objects, so that all fields of an alternative hold within it.
For one alternative the arrays are independent of each other, so that whether it holds is known from each part on its
own: both sides of an object must agree (and), one element of an array must do (or). As bits, that is `&` and `|`.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import chain
from operator import and_
from typing import Any

from endpoints.patterns.conditions import ABSENT, PRESENT
from endpoints.patterns.parse import Alternative, Field, Path
from endpoints.patterns.verdicts import Verdicts, join_bits

MANY = 8  # elements of an array, from which on it pays to look at all of them first
_KNOWN_SHAPES = 100  # of objects in arrays, which a node remembers


@dataclass(frozen=True)
class Pattern:
    """What a filter wants: any of its alternatives, of which all fields must hold."""

    alternatives: tuple[Alternative, ...]

    @cached_property
    def _root(self) -> "Node":
        return plan(self.alternatives)  # when it is needed: of many patterns in an index, few are

    def match(self, event: Mapping[str, Any]) -> bool:
        return self._root.in_object(event) != 0

    def reads(self, name: str) -> bool:
        """Say whether the pattern looks at that field of the event."""
        return any(field.path[0] == name for alternative in self.alternatives for field in alternative)


class Node:
    """What alternatives say of the value at one path. Each method returns the alternatives that may still hold."""

    def __init__(self, every: int, layers: "Sequence[_Layer]", children: "Mapping[str, Node]") -> None:
        self.children = children
        self._every, self._layers, self._names = every, layers, frozenset(children)
        self._unnamed = _meet(every, (layer.absent for layer in layers))
        self._childless = _meet(every, (child.absent for child in children.values()))
        self.absent: int = self._unnamed & self._childless
        self._silent = _meet(every, (child.silent for child in children.values()))
        self._absence = self._childless & ~self._silent
        self.silent: int = _meet(self._silent, (layer.silent for layer in layers))
        self._by_text, self._other_text = self._texts()
        self._shapes: dict[frozenset[str], int] = {}
        # One value must do for all that is said here: then any of several values is as good as an array of them.
        self.says_one_thing = len(layers) + bool(children) <= 1

    def _texts(self) -> tuple[dict[str, int] | None, int]:
        """Return what may hold on each text that is known, and on all others, where that is all that decides."""
        verdicts = self._layers[0].verdicts if len(self._layers) == 1 else None
        known = verdicts.by_text() if verdicts else None
        if verdicts is None or known is None:
            return None, 0
        return {text: bits & self._childless for text, bits in known.items()}, verdicts.on_any & self._childless

    def on(self, value: Any) -> int:
        kind = type(value)
        if kind is dict:
            return self._unnamed and self._unnamed & self.in_object(value)
        if kind is list:
            return self._in_array(value) if value else self.absent
        if kind is str and self._by_text is not None:
            return self._by_text.get(value, self._other_text)
        bits = self._childless
        for layer in self._layers:
            bits &= layer.verdicts.on(value)
        return bits

    def in_object(self, value: Mapping[str, Any]) -> int:
        bits = self._every
        for name, child in self.children.items():
            if name in value:
                bits &= child.on(value[name])
            else:
                bits &= child.absent
            if not bits:
                break
        return bits

    def _in_array(self, array: list[Any]) -> int:
        scalars, objects = ([], array) if len(array) <= MANY and _are_objects(array) else parted(array)
        bits = self._on_scalars(scalars) if scalars else self._unnamed
        return bits and bits & (self._in_one_of(objects) if objects and self.children else self._childless)

    def _on_scalars(self, scalars: Collection[Any]) -> int:
        bits = self._every
        for layer in self._layers:
            bits &= layer.on(scalars)
        return bits

    def _in_one_of(self, objects: Collection[dict[str, Any]]) -> int:
        """One element must do; where all that is wanted is absence, it must be absent from each."""
        some, each, absence = 0, self._absence, self._absence
        for bits in self._on_shapes(objects) if len(objects) > MANY else map(self.in_object, objects):
            some |= bits
            each &= bits
            if not each and some | absence == self._every:
                break
        return some & ~absence | each

    def _on_shapes(self, objects: Collection[dict[str, Any]]) -> Iterator[int]:
        for names, alike in self._by_shape(objects).items():
            yield from self._on_alike(names, alike)

    def _by_shape(self, objects: Collection[dict[str, Any]]) -> dict[frozenset[str], list[dict[str, Any]]]:
        """Return the objects by those of their members that the pattern names."""
        by_keys: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for element in filter(None, objects):
            by_keys[tuple(element)].append(element)
        shapes: dict[frozenset[str], list[dict[str, Any]]] = {} if all(objects) else {frozenset(): [{}]}
        for keys, alike in by_keys.items():
            shapes.setdefault(self._names.intersection(keys), []).extend(alike)
        return shapes

    def _on_alike(self, names: frozenset[str], objects: Sequence[dict[str, Any]]) -> Iterator[int]:
        """Return what may hold on each of the objects, or on one of them, where that is known at once."""
        bits = self._with_only(names)
        if not bits or not names:
            yield bits
        elif len(names) == 1 and all(self.children[name].says_one_thing for name in names):
            yield from (bits & self.children[name].on([element[name] for element in objects]) for name in names)
        else:
            yield from (self._on_members(bits, names, element) for element in objects)

    def _with_only(self, names: frozenset[str]) -> int:
        """Return what may hold where the other members are absent."""
        if names not in self._shapes:
            if len(self._shapes) == _KNOWN_SHAPES:
                self._shapes.clear()
            self._shapes[names] = _meet(
                self._every, (child.absent for name, child in self.children.items() if name not in names)
            )
        return self._shapes[names]

    def _on_members(self, bits: int, names: Iterable[str], element: Mapping[str, Any]) -> int:
        for name in names:
            if not bits:
                break
            bits &= self.children[name].on(element[name])
        return bits


class _Layer:
    """Conditions on the value at one path: of each alternative at most one field."""

    def __init__(self, every: int, fields: Iterable[tuple[Field, int]]) -> None:
        fields = list(fields)
        wanted = join_bits(bits for _, bits in fields)
        self.silent = every & ~wanted
        self.absent = self.silent | join_bits(bits for field, bits in fields if ABSENT in field.conditions)
        conditions = [(condition, bits) for field, bits in fields for condition in field.conditions]
        self.verdicts = Verdicts([*conditions, (PRESENT, self.silent)], join_bits)

    def on(self, scalars: Collection[Any]) -> int:
        """Return the alternatives that this says nothing of, or that one of `scalars` will do for."""
        if len(scalars) > MANY:
            return self.verdicts.on_one_of(scalars)
        return join_bits(map(self.verdicts.on, scalars))


def plan(alternatives: Sequence[Alternative]) -> Node:
    every = (1 << len(alternatives)) - 1
    layers: dict[Path, list[dict[int, tuple[Field, int]]]] = {}
    names: dict[Path, dict[str, None]] = {}
    for number, alternative in enumerate(alternatives):
        layer_of: Counter[Path] = Counter()
        for field in alternative:
            there = layers.setdefault(field.path, [])
            if layer_of[field.path] == len(there):
                there.append({})
            fields = there[layer_of[field.path]]
            fields[id(field)] = field, fields.get(id(field), (field, 0))[1] | 1 << number
            layer_of[field.path] += 1
            for depth, name in enumerate(field.path):
                names.setdefault(field.path[:depth], {})[name] = None

    def node(path: Path) -> Node:
        return Node(
            every,
            [_Layer(every, fields.values()) for fields in layers.get(path, ())],
            {name: node((*path, name)) for name in names.get(path, ())},
        )

    return node(())


def _are_objects(array: list[Any]) -> bool:
    for element in array:  # noqa: SIM110 - of a few elements, a generator costs as much as to part them
        if type(element) is not dict:
            return False
    return True


def parted(array: list[Any]) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return the scalars and the objects of `array` and of the arrays in it."""
    scalars: list[Any] = []
    objects: list[dict[str, Any]] = []
    level = array
    while level:
        kinds = set(map(type, level))
        if dict in kinds:
            objects += [element for element in level if type(element) is dict] if len(kinds) > 1 else level
        if kinds - {dict, list}:
            scalars += [element for element in level if type(element) not in (dict, list)] if len(kinds) > 1 else level
        level = list(chain.from_iterable([each for each in level if type(each) is list])) if list in kinds else []
    return scalars, objects


def _meet(every: int, sets: Iterable[int]) -> int:
    return reduce(and_, sets, every)
