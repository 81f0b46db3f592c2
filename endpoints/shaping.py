"""Payload shapes: what of an event's `data` an endpoint is sent.

    {"paths": ["customer.id", "items.sku"]}                            these members, where they are in the data
    {"template": {"who": {"$path": "customer.id"}, "kind": "order"}}   another document, with parts of the data in it

A path is names with dots between them, or a list of names. On its way through an array it stands for every element.
What the data does not have is left out, with the object or array that would be empty without it. Values are the
producer's own bytes. Each part of the data is sent once at most, so a payload is never longer than data and template.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from endpoints.checks import checked_document
from endpoints.errors import BadInput
from endpoints.jsonb import as_stored

FIELD = "payloadShape"
MAX_PATHS = 200
MAX_STEPS = 20  # of a path
MAX_BYTES = 16 * 1024
MAX_LEVELS = 20
_RIGHT = gettext_noop(
    '%(field)s is %(given)s; write {"paths": ["customer.id"]} or {"template": {"id": {"$path": "customer.id"}}}.'
)

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
Path = tuple[str, ...]


class Tree(dict[str, "Tree"]):
    """Paths by their first names. A tree without branches is the end of a path: all that is there is meant."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a template has a part of the data."""

    path: Path


_IN_PLACE = object()  # instead of a template, which may be anything that JSON has


@dataclass(frozen=True, slots=True)
class Shape:
    """A payload shape, ready to be used."""

    tree: Tree
    template: Any = _IN_PLACE  # what the tree leads to, in its own places

    def __call__(self, data: str) -> str:
        """Return the JSON text of what is sent of `data`, a JSON text or ""; "" for nothing at all."""
        text = data.encode().strip()
        if self.template is _IN_PLACE:
            return _kept(self.tree, text).decode()
        return _filled(self.template, _found(self.tree, text) if text else {}).decode()


def shaped(document: str | None, data: str) -> str:
    """Return what is sent of `data` to an endpoint whose payload shape is `document`, a JSON text; None is all of it.

    Raises BadInput for a shape that other hands wrote and nobody can read.
    """
    return data if document is None else _read(document)(data)


@lru_cache(maxsize=1_000)
def _read(document: str) -> Shape:
    return parse(json.loads(document))


def check(document: Any) -> None:
    """Raise BadInput for a document that is no shape, or is none once it comes back from the database."""
    parse(document)
    parse(as_stored(document))


def parse(document: Any) -> Shape:
    """Return the shape that `document` describes. Raises BadInput with the place of what is wrong."""
    if not isinstance(document, dict) or len(document) != 1 or not document.keys() <= {"paths", "template"}:
        raise BadInput(_(_RIGHT) % {"field": FIELD, "given": _shown(document)}, FIELD)
    checked_document(document, FIELD, most_bytes=MAX_BYTES, most_levels=MAX_LEVELS)
    if "paths" in document:
        return Shape(_tree(_paths(document["paths"], f"{FIELD}.paths")))
    places: list[tuple[Path, str]] = []
    template = _compiled(document["template"], f"{FIELD}.template", places)
    _refuse_repeats(sorted(places))
    return Shape(_tree(path for path, _ in places), template)


def _paths(given: Any, field: str) -> list[Path]:
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_PATHS:
        said = _("%(field)s is %(given)s; write a list of 1 to %(most)s paths.")
        raise BadInput(said % {"field": field, "given": _shown(given), "most": MAX_PATHS}, field)
    return [_path(path, f"{field}[{index}]") for index, path in enumerate(given)]


def _path(given: Any, field: str) -> Path:
    steps = given.split(".") if isinstance(given, str) else given
    if (
        not isinstance(steps, list)
        or not all(isinstance(step, str) for step in steps)
        or steps is not given
        and "" in steps
    ):
        said = _('%(field)s is %(given)s; write a path, such as "customer.id" or ["customer", "id"].')
        raise BadInput(said % {"field": field, "given": _shown(given)}, field)
    if len(steps) > MAX_STEPS:
        said = _("%(field)s has %(given)s names; a path has up to %(most)s.")
        raise BadInput(said % {"field": field, "given": len(steps), "most": MAX_STEPS}, field)
    return tuple(steps)


def _compiled(node: Any, field: str, places: list[tuple[Path, str]]) -> Any:
    """Return the template with a _Place for each {"$path": ...}, which `places` collects with where it stands."""
    if isinstance(node, list):
        return [_compiled(element, f"{field}[{index}]", places) for index, element in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"$path"}:
        place = _path(node["$path"], f"{field}.$path")
        places.append((place, f"{field}.$path"))
        return _Place(place)
    for name in node:
        if name.startswith("$"):
            said = _('%(field)s: a name with $ is {"$path": "customer.id"} and stands alone.')
            raise BadInput(said % {"field": f"{field}.{name}"}, field)
    # In one order, whichever way the template was stored.
    return {name: _compiled(node[name], f"{field}.{name}", places) for name in sorted(node)}


def _refuse_repeats(places: Sequence[tuple[Path, str]]) -> None:
    for (path, field), (next_path, next_field) in pairwise(places):  # sorted: what lies in a path comes right after it
        if next_path[: len(path)] == path:
            said = _("%(field)s: %(part)s is sent by %(other)s already; each part is sent once at most.")
            found = {"field": next_field, "part": _shown(".".join(next_path)), "other": field}
            raise BadInput(said % found, next_field)


def _tree(paths: Iterable[Path]) -> Tree:
    tree, last = Tree(), None
    for path in sorted(paths):
        if last is None or path[: len(last)] != last:  # else it lies in what is meant already
            last, node = path, tree
            for name in path:
                node = node.setdefault(name, Tree())
    return tree


def _kept(tree: Tree, text: bytes) -> bytes:
    """Return the JSON text of what `tree` leads to, in its own places."""
    if not tree:
        return text
    if text[:1] == b"[":
        return _joined(b"[]", [_kept(tree, bytes(element)) for element in _elements(text)])
    if text[:1] != b"{":
        return b""
    members = ((name, bytes(member)) for name, member in _members(text).items() if name in tree)
    return _joined(b"{}", [_named(name, _kept(tree[name], member)) for name, member in members])


def _found(tree: Tree, text: bytes, path: Path = ()) -> dict[Path, bytes]:
    """Return the JSON texts of what `tree` leads to, each by its path; behind an array those of all its elements."""
    found: dict[Path, bytes] = {}
    if not tree:
        return {path: text}
    if text[:1] == b"[":
        lists: dict[Path, list[bytes]] = {}
        for element in _elements(text):
            for place, part in _found(tree, bytes(element), path).items():
                lists.setdefault(place, []).append(part)
        return {place: _joined(b"[]", parts) for place, parts in lists.items()}
    if text[:1] == b"{":
        members = _members(text)
        for name in tree.keys() & members.keys():
            found |= _found(tree[name], bytes(members[name]), (*path, name))
    return found


def _filled(node: Any, found: Mapping[Path, bytes]) -> bytes:
    if isinstance(node, _Place):
        return found.get(node.path, b"")
    if isinstance(node, dict) and node:
        return _joined(b"{}", [_named(name, _filled(member, found)) for name, member in node.items()])
    if isinstance(node, list) and node:
        return _joined(b"[]", [_filled(element, found) for element in node])
    return _encode(node)


def _named(name: str, part: bytes) -> bytes:
    return part and _encode(name) + b":" + part


def _joined(brackets: bytes, parts: Iterable[bytes]) -> bytes:
    """Return the parts that are there between the brackets; nothing where none is."""
    inner = b",".join(part for part in parts if part)
    return inner and brackets[:1] + inner + brackets[1:]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."
