"""Why a pattern matches an event, or does not: condition by condition, as the pattern is written."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from django.utils.translation import gettext as _

from endpoints.patterns.matching import Pattern
from endpoints.patterns.parse import OR, Path, alternatives_of
from endpoints.patterns.published import as_pattern

SHOWN_VALUES = 5  # of the event, for one condition
SHOWN_CHARACTERS = 200  # of one value
SHOWN_WANTED = 20  # members of a list
FEW_WANTED = 3  # that a sentence names


@dataclass(frozen=True, slots=True)
class Check:
    """One list of a pattern, of which any member will do; or one $or, of which any branch will."""

    at: str  # in the pattern, such as pattern.data.$or[0].total
    path: str  # in the event, such as data.total
    wanted: list[Any]  # the first members of the list as they are written; nothing for $or
    held: bool
    found: list[str]  # the first values in the event, as JSON
    why: str
    required: bool  # outside of any $or


@dataclass(frozen=True, slots=True)
class Explanation:
    matched: bool
    reason: str
    checks: list[Check]


def explain(definition: Any, event: Mapping[str, Any]) -> Explanation:
    """Say why the filter that `definition` describes matches `event`, or does not. Raises BadInput, as parsing does."""
    matched = Pattern(alternatives_of(definition)).match(event)
    pattern = as_pattern(definition["in"]) if "in" in definition else definition["pattern"]
    checks = list(_checks(pattern, event, at="pattern", path=(), required=True))
    if matched:
        checks = [_held_with_others(check) if check.required else check for check in checks]
    return Explanation(matched, _reason(matched, checks), checks)


def _reason(matched: bool, checks: list[Check]) -> str:
    if not checks:
        return _("The pattern is empty: it matches every event.")
    if matched:
        return _("All conditions hold.")
    failed = [check for check in checks if check.required and not check.held]
    if failed:
        return failed[0].why
    return _("Each condition holds by itself, but not all of them within the same element of an array.")


def _held_with_others(check: Check) -> Check:
    """Absence may be wanted of the one element of an array that the other conditions hold in."""
    if check.held:
        return check
    why = _("%(name)s is not in the element of the array that the other conditions hold in.")
    return replace(check, held=True, why=why % {"name": check.path})


def _checks(
    node: Mapping[str, Any], event: Mapping[str, Any], *, at: str, path: Path, required: bool
) -> Iterator[Check]:
    for name, child in node.items():
        here, there = f"{at}.{name}", (*path, name)
        if name == OR:
            yield from _either(child, event, at=here, path=path, required=required)
        elif isinstance(child, list):
            yield _check(child, event, at=here, path=there, required=required)
        else:
            yield from _checks(child, event, at=here, path=there, required=required)


def _either(branches: list[Any], event: Mapping[str, Any], *, at: str, path: Path, required: bool) -> Iterator[Check]:
    holding = [number for number, branch in enumerate(branches) if _alone(path, branch).match(event)]
    why = (
        _("%(branch)s holds.") % {"branch": f"{at}[{holding[0]}]"}
        if holding
        else _("None of the %(count)s branches of %(at)s holds.") % {"count": len(branches), "at": at}
    )
    yield Check(at, ".".join(path), [], bool(holding), [], why, required)
    for number, branch in enumerate(branches):
        yield from _checks(branch, event, at=f"{at}[{number}]", path=path, required=False)


def _check(wanted: list[Any], event: Mapping[str, Any], *, at: str, path: Path, required: bool) -> Check:
    held = _alone(path, wanted).match(event)
    values = list(islice(_values(event, path), SHOWN_VALUES))
    found = [_shown(value) for value in values]
    why = _why(wanted, path, values, found) if held else _why_not(wanted, path, found)
    return Check(at, ".".join(path), wanted[:SHOWN_WANTED], held, found, why, required)


def _why(wanted: list[Any], path: Path, values: list[Any], found: list[str]) -> str:
    name = ".".join(path)
    for value, shown in zip(values, found, strict=True):
        for member in wanted[:SHOWN_WANTED]:
            if _alone(path, [member]).match(_nested(path, value)):
                told = {"name": name, "found": shown, "wanted": _shown(member)}
                if shown == told["wanted"]:
                    return _("%(name)s is %(found)s.") % told
                return _("%(name)s is %(found)s: %(wanted)s holds.") % told
    return (_("%(name)s is as wanted.") if values else _("The event has no %(name)s, as wanted.")) % {"name": name}


def _why_not(wanted: list[Any], path: Path, found: list[str]) -> str:
    name = ".".join(path)
    if not found:
        return _("The event has no %(name)s.") % {"name": name}
    told = {"name": name, "found": _(" and ").join(found)}
    if len(wanted) <= FEW_WANTED:
        several = _(" or ").join(_shown(member) for member in wanted)
        return _("%(name)s is %(found)s, not %(wanted)s.") % {**told, "wanted": several}
    others = {"wanted": _shown(wanted[0]), "count": len(wanted) - 1}
    return _("%(name)s is %(found)s, not %(wanted)s or one of %(count)s others.") % {**told, **others}


def _alone(path: Path, node: Any) -> Pattern:
    return Pattern(alternatives_of({"pattern": _nested(path, node)}))


def _nested(path: Path, node: Any) -> Any:
    for name in reversed(path):
        node = {name: node}
    return node


def _values(value: Any, path: Path) -> Iterator[Any]:
    """Give what the event has at `path`, on the way through every element of an array."""
    if isinstance(value, list) and value:
        for element in value:
            yield from _values(element, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _values(value[path[0]], path[1:])


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
