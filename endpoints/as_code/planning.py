"""What has to change for a workspace to be as a file says."""

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from endpoints.as_code.documents import ENDPOINTS, KINDS, NOUNS, TYPES, Document, Documents, Secret
from endpoints.as_code.reading import File, Mistake, Mistakes

LEFT_ALONE = ("secret", "state")  # of an endpoint, where a file does not say them


class Difference(NamedTuple):
    before: Any
    after: Any


@dataclass(frozen=True)
class Change:
    action: str  # create, change, delete
    kind: str
    name: str
    fields: dict[str, Difference] = field(default_factory=dict)
    renamed_from: str | None = None

    def lines(self) -> list[str]:
        sign = {"create": "+", "change": "~", "delete": "-"}[self.action]
        was = f" (was {self.renamed_from})" if self.renamed_from else ""
        return [f"{sign} {NOUNS[self.kind]} {self.name}{was}", *map(self._line, self.fields)]

    def _line(self, name: str) -> str:
        before, after = self.fields[name]
        if self.action == "create":
            return f"    {name}: {_shown(after)}"
        return f"    {name}: {_shown(before)} -> {_shown(after)}"

    def as_dict(self) -> dict[str, Any]:
        fields = {
            name: {"before": _plain(each.before), "after": _plain(each.after)} for name, each in self.fields.items()
        }
        found = {"action": self.action, "kind": NOUNS[self.kind], "name": self.name, "fields": fields}
        return {**found, "renamedFrom": self.renamed_from} if self.renamed_from else found


@dataclass(frozen=True)
class Plan:
    changes: list[Change]
    left: list[tuple[str, str]]  # kind and name of what is not in the file

    def text(self, *, applied: bool) -> str:
        lines = [line for change in self.changes for line in change.lines()]
        lines += [f"? {NOUNS[kind]} {name} is not in the file; --prune deletes it" for kind, name in self.left]
        return "\n".join([*lines, self._summary(applied=applied)])

    def _summary(self, *, applied: bool) -> str:
        if not self.changes:
            return "Nothing to do."
        count = [sum(change.action == action for change in self.changes) for action in ("create", "change", "delete")]
        said = "{} created, {} changed, {} deleted." if applied else "{} to create, {} to change, {} to delete."
        return said.format(*count)

    def as_dict(self) -> dict[str, Any]:
        left = [{"kind": NOUNS[kind], "name": name} for kind, name in self.left]
        return {"changes": [change.as_dict() for change in self.changes], "notInFile": left}


def plan(file: File, stored: Documents, *, prune: bool = False) -> Plan:
    """Return what has to change. Raises Mistakes for what can't be changed."""
    changes, left, mistakes = [], [], []
    for kind in KINDS:
        unclaimed = dict(stored[kind])
        for name, wanted in file.documents[kind].items():
            before = file.renamed_from.get((kind, name))
            old_name = before if name not in stored[kind] and before in unclaimed else None
            found = unclaimed.pop(old_name or name, None)
            if found is not None and kind == ENDPOINTS and found["type"] != wanted["type"]:
                problem = (
                    f"endpoint {name!r} is a {found['type']}, and stays one; take another name for a new endpoint."
                )
                mistakes.append(Mistake(file.line_of[kind, name], problem))
                continue
            changes += _changes(kind, name, wanted, found, old_name)
        gone = [(kind, name) for name in unclaimed]
        changes += [_deletion(*each, stored) for each in gone] if prune else []
        left += [] if prune else gone
    if mistakes:
        raise Mistakes(mistakes)
    return Plan(changes, left)


def _changes(kind: str, name: str, wanted: Document, found: Document | None, old_name: str | None) -> list[Change]:
    if found is None:
        return [Change("create", kind, name, {each: Difference(None, value) for each, value in wanted.items()})]
    fields = {
        each: Difference(found.get(each), wanted.get(each))
        for each in [*wanted, *(found.keys() - wanted.keys() - set(LEFT_ALONE))]
        if not _are_same(found.get(each), wanted.get(each))
    }
    return [Change("change", kind, name, fields, old_name)] if fields or old_name else []


def _are_same(one: Any, other: Any) -> bool:
    """Compare as JSON does, to which `true` is no 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_are_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_are_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _deletion(kind: str, name: str, stored: Documents) -> Change:
    """Of an event type what was said is taken back: that it has arrived, and how often, stays."""
    if kind != TYPES:
        return Change("delete", kind, name)
    return Change("delete", kind, name, {each: Difference(value, None) for each, value in stored[kind][name].items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return repr(value)
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(_plain(value), ensure_ascii=False)
