"""What stands in a list: values, and operators in objects of one member."""

import ipaddress
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from endpoints.errors import BadInput
from endpoints.patterns.errors import check_storable, refusal, shown
from endpoints.patterns.wildcards import Wildcard, parts_of

FOLDED = "equals-ignore-case"
_STRING = gettext_noop("a string")
_STRING_OR_FOLDED = gettext_noop('a string or {"equals-ignore-case": "text"}')


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that a value may be. `kind` says what `operand` is, so that true is never taken for 1.

    text, number, literal: the value; folded, prefix, suffix, folded prefix, folded suffix: a text; numeric and cidr:
    the two bounds of a range; wildcard; anything-but: conditions; exists and absent: nothing.
    """

    kind: str
    operand: Any = None


ABSENT = Condition("absent")
PRESENT = Condition("exists")
# What is not looked up by value.
RANGES = frozenset({"prefix", "suffix", "folded prefix", "folded suffix", "numeric", "cidr", "anything-but"})


def parse_condition(path: str, value: Any) -> Condition:
    """Return what one member of the list at `path` stands for. Raises BadInput."""
    if isinstance(value, dict):
        return _parse_operator(path, value)
    if isinstance(value, list):
        found = _("holds the list %(given)s") % {"given": shown(value)}
        raise refusal(path, found, _("lists do not nest: write its values one by one"))
    check_storable(path, value)
    return _equals(value)


def _equals(value: str | float | None) -> Condition:
    if isinstance(value, str):
        return Condition("text", value)
    return Condition("literal" if value is None or isinstance(value, bool) else "number", value)


def _parse_operator(path: str, given: dict[str, Any]) -> Condition:
    if len(given) != 1:
        found = _("holds %(given)s with %(count)s operators") % {"given": shown(given), "count": len(given)}
        raise refusal(path, found, _("write one in each object: any of them will do"))
    ((name, operand),) = given.items()
    if name not in OPERATORS:
        found = _("holds the operator %(name)s") % {"name": shown(name)}
        raise refusal(path, found, _("there are %(known)s") % {"known": ", ".join(OPERATORS)})
    return OPERATORS[name](path, operand)


def _text(path: str, operator: str, operand: Any, *, allowed: str = _STRING) -> str:
    if not isinstance(operand, str):
        raise _wrong(operator, path, operand, _(allowed))
    check_storable(path, operand)
    return operand


def _wrong(operator: str, path: str, operand: Any, allowed: str) -> BadInput:
    said = _("%(operator)s in %(path)s is %(given)s; write %(allowed)s.")
    found = {"operator": operator, "path": path, "given": shown(operand), "allowed": allowed}
    return BadInput(said % found, path)


def _equals_ignore_case(path: str, operand: Any) -> Condition:
    return Condition("folded", _text(path, FOLDED, operand).casefold())


def _end(kind: str) -> Callable[[str, Any], Condition]:
    """Return how the operand of prefix or suffix is read."""

    def parse(path: str, operand: Any) -> Condition:
        if isinstance(operand, dict) and operand.keys() == {FOLDED}:
            return Condition(f"folded {kind}", _text(path, f"{kind} {FOLDED}", operand[FOLDED]).casefold())
        return Condition(kind, _text(path, kind, operand, allowed=_STRING_OR_FOLDED))

    return parse


def _wildcard(path: str, operand: Any) -> Condition:
    text = _text(path, "wildcard", operand)
    try:
        parts = parts_of(text)
    except ValueError as error:
        said = _("wildcard %(given)s in %(path)s %(problem)s.")
        raise BadInput(said % {"given": shown(text), "path": path, "problem": error}, path) from None
    return Condition("wildcard", Wildcard(parts)) if len(parts) > 1 else Condition("text", *parts)


def _exists(path: str, operand: Any) -> Condition:
    if not isinstance(operand, bool):
        raise _wrong("exists", path, operand, _("true or false"))
    return Condition("exists") if operand else ABSENT


def _cidr(path: str, operand: Any) -> Condition:
    text = _text(path, "cidr", operand)
    try:
        if "/" not in text:
            raise ValueError(_("it has no /"))
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        allowed = _("an address, / and how many bits count, such as 10.0.0.0/8 or 2001:db8::/32")
        said = _("cidr in %(path)s is %(given)s (%(problem)s); write %(allowed)s.")
        found = {"path": path, "given": shown(text), "problem": error, "allowed": allowed}
        raise BadInput(said % found, path) from None
    first, last = network.network_address.packed, network.broadcast_address.packed
    return Condition("cidr", ((address_key(first), 0), (address_key(last), 1)))


def address_key(packed: bytes) -> bytes:
    """Return what addresses of both versions are ordered by."""
    return bytes([len(packed)]) + packed


# The bounds of ranges are just before a number (0) or just behind it (1).
_LOWER = {">": 1, ">=": 0}
_UPPER = {"<": 0, "<=": 1}
_NUMERIC = {"one": '["=", 5], [">", 0], ["<=", 9.5]', "two": '[">", 0, "<=", 9.5]'}


def _numeric(path: str, operand: Any) -> Condition:
    try:
        return _comparison(path, operand)
    except ValueError as error:
        said = _("numeric in %(path)s is %(given)s, %(problem)s; write %(allowed)s.")
        allowed = _("%(one)s or a range such as %(two)s") % _NUMERIC
        found = {"path": path, "given": shown(operand), "problem": error, "allowed": allowed}
        raise BadInput(said % found, path) from None


def _comparison(path: str, operand: Any) -> Condition:
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        raise ValueError(_("which is no list of one or two comparisons"))
    signs, numbers = operand[::2], operand[1::2]
    for number in numbers:
        if not _is_number(number):
            raise ValueError(_("where %(given)s is no number") % {"given": shown(number)})
        check_storable(path, number)
    if signs == ["="]:
        return Condition("number", numbers[0])
    if len(signs) == 2 and numbers[0] >= numbers[1]:
        said = _("which is empty: %(bottom)s is not below %(top)s")
        raise ValueError(said % {"bottom": numbers[0], "top": numbers[1]})
    return Condition("numeric", _bounds(signs, numbers))


def _bounds(signs: list[Any], numbers: list[float]) -> tuple[tuple[float, int], tuple[float, int]]:
    match signs, numbers:
        case [(">" | ">=") as lower], [number]:
            return (number, _LOWER[lower]), (math.inf, 0)
        case [("<" | "<=") as upper], [number]:
            return (-math.inf, 0), (number, _UPPER[upper])
        case [(">" | ">=") as lower, ("<" | "<=") as upper], [bottom, top]:
            return (bottom, _LOWER[lower]), (top, _UPPER[upper])
        case _:
            raise ValueError(_("where %(signs)s make no range") % {"signs": _(" and ").join(map(shown, signs))})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _anything_but(path: str, operand: Any) -> Condition:
    if isinstance(operand, dict):
        return Condition("anything-but", _excluded_by_operator(path, operand))
    values = operand if isinstance(operand, list) else [operand]
    if not values or not (all(isinstance(value, str) for value in values) or all(map(_is_number, values))):
        allowed = _("a string, a number, a list of strings, a list of numbers, or one of %(known)s in an object")
        raise _wrong("anything-but", path, operand, allowed % {"known": ", ".join(_EXCLUDABLE)})
    return Condition("anything-but", tuple(parse_condition(path, value) for value in values))


def _excluded_by_operator(path: str, operand: dict[str, Any]) -> tuple[Condition, ...]:
    if len(operand) != 1 or not operand.keys() <= set(_EXCLUDABLE):
        raise _wrong("anything-but", path, operand, _("one of %(known)s") % {"known": ", ".join(_EXCLUDABLE)})
    ((name, texts),) = operand.items()
    texts = texts if isinstance(texts, list) else [texts]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise _wrong(f"anything-but {name}", path, operand[name], _("a string or a list of them"))
    if name in ("prefix", "suffix") and "" in texts:
        said = _("anything-but %(name)s in %(path)s holds the empty string, which excludes every string.")
        raise BadInput(said % {"name": name, "path": path}, path)
    return tuple(OPERATORS[name](path, text) for text in texts)


OPERATORS: Mapping[str, Callable[[str, Any], Condition]] = MappingProxyType(
    {
        "prefix": _end("prefix"),
        "suffix": _end("suffix"),
        FOLDED: _equals_ignore_case,
        "anything-but": _anything_but,
        "numeric": _numeric,
        "exists": _exists,
        "wildcard": _wildcard,
        "cidr": _cidr,
    }
)
_EXCLUDABLE = ("prefix", "suffix", FOLDED, "wildcard")
