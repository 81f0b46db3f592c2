"""JSON Schema, draft 2020-12: what the data of a type must be like.

A schema and what it is held against are strangers' both, so the work is bounded: references stay in the document and
never lead back to where they came from, patterns are matched in linear time, and what a schema weighs times what the
data holds has a limit. `format` is a note, as in the draft.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast
from urllib.parse import unquote

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError, meta

from endpoints.checks import checked_document, nodes
from endpoints.errors import BadInput

DRAFT = "https://json-schema.org/draft/2020-12/schema"
MAX_BYTES = 64 * 1024
MAX_LEVELS = 50
MAX_NESTED = 100  # schemas within schemas, references followed
MAX_WEIGHT = 10_000  # JSON values, where each reference counts as what it leads to
MAX_WORK = 3_000_000  # of one event: the schema's weight times the data's values, and NAME for each of its characters
MAX_PATTERN_WORK = 200_000  # of one event: characters that patterns look at, and CALL for each string
MAX_PATTERN_BYTES = 10_000  # of a compiled pattern
CALL = 5
NAME = 10  # and each pattern of patternProperties, any of which may be in names
SHOWN = 60
# What costs more than its place in the document tells: these are worked out over again for the object they stand in.
_DEAR = {"unevaluatedProperties": 8, "unevaluatedItems": 8, "multipleOf": 20}
_ONE = (
    *("additionalProperties", "unevaluatedProperties", "propertyNames", "items", "unevaluatedItems", "contains"),
    *("not", "if", "then", "else"),
)
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "dependentSchemas")
_DEFINITIONS = ("$defs", "definitions")
_TO_A_PLACE = gettext_noop("$ref to a place in this schema")
# Of other drafts, or beyond what a weight can be told of; and what to write instead.
_OTHERS = {
    "$dynamicRef": _TO_A_PLACE,
    "$recursiveRef": _TO_A_PLACE,
    "dependencies": gettext_noop("dependentSchemas or dependentRequired"),
    "additionalItems": gettext_noop("prefixItems and items"),
}
# What a schema itself breaks, by the validator's names.
_BROKEN = {
    "type": gettext_noop("it is not of type %(types)s"),
    "anyOf": gettext_noop("it is none of what may stand here"),
    "minimum": gettext_noop("it is less than %(limit)s"),
    "exclusiveMinimum": gettext_noop("it is not more than %(limit)s"),
    "minItems": gettext_noop("it has fewer items than %(limit)s"),
    "uniqueItems": gettext_noop("it holds something twice"),
    "pattern": gettext_noop("it does not match %(pattern)s"),
}
_NO_PATTERN = gettext_noop(
    "no regular expression without look-around and back-references that fits into %(most)s bytes when compiled"
)
T = TypeVar("T")
_LINEAR = RegexOptions(size_limit=MAX_PATTERN_BYTES)


class Schema:
    """A schema, ready to be held against data. One for all threads."""

    def __init__(self, document: Any) -> None:
        """Raises BadInput with the place of what is wrong."""
        _check_document(document)
        _check(meta.validate, document)
        self._weight, self._names = _Weighing(document).total()
        self._looks = _Looks()
        self._turn = threading.Lock()
        self._validator = _check(self._compiled, document)

    def _compiled(self, document: Any) -> Draft202012Validator:
        keywords = {"pattern": cast(Any, partial(_Pattern, self._looks))}
        return Draft202012Validator(document, pattern_options=_LINEAR, offline=True, mask="it", keywords=keywords)

    def problem(self, value: Any, text: str) -> BadInput | None:
        """Return what is wrong with `value`, which `text` says; where there is no text, the value is missing."""
        values = 1 + text.count(",") + text.count("[") + text.count("{")
        if self._weight * values + self._names * len(text) * NAME > MAX_WORK:
            return _too_much(f"data holds {values} values")
        with self._turn:
            self._looks.work = 0
            found = self._found(value, missing=not text)
            # Once too much, what else was found tells nothing: it may stand under a `not`.
            return _too_much("patterns look at too much text") if self._looks.work > MAX_PATTERN_WORK else found

    def _found(self, value: Any, *, missing: bool) -> BadInput | None:
        try:
            self._validator.validate(value)
        except ValidationError as error:
            path = _path("data", error.instance_path)
            shown = "missing" if missing else _shown(error.instance)
            place = _path("schema", error.schema_path)
            return BadInput(f"{path} is {shown}: {error.message[:300]} ({place[:300]}).", path[:300])
        return None


@dataclass(slots=True)
class _Looks:
    """What patterns did with one event."""

    work: int = 0

    def one(self, text: str) -> bool:
        """Count a look at `text`. Return whether it may be looked at."""
        self.work += CALL + len(text)
        return self.work <= MAX_PATTERN_WORK


class _Pattern:
    """The keyword `pattern`, which counts what it looks at."""

    def __init__(self, looks: _Looks, _parent: Any, pattern: str, _path: Any) -> None:
        self._looks = looks  # not the schema, which holds this: no one collects rings through the validator
        self._pattern = pattern
        self._validator = Draft202012Validator({"pattern": pattern}, pattern_options=_LINEAR)

    def validate(self, value: Any) -> None:
        if isinstance(value, str) and not (self._looks.one(value) and self._validator.is_valid(value)):
            raise ValueError(f"it does not match {_shown(self._pattern)}")


class _Weighing:
    """Walks a schema as the validator does: into each reference, wherever it stands."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._entered: list[str] = []  # the references that led here
        self._level = 0
        self._weight = 0
        self._names = 0  # patterns that are held against names

    def total(self) -> tuple[int, int]:
        """Return the weight, and how many patterns are held against names. Raises BadInput."""
        self._enter(self._document, "schema", 1)
        return self._weight, self._names

    def _enter(self, schema: Any, path: str, factor: int) -> None:
        self._add(path, factor)
        if not isinstance(schema, dict):
            return
        self._level += 1
        if self._level > MAX_NESTED:
            said = _("%(path)s is nested over %(most)s schemas deep, references followed.")
            raise BadInput(said % {"path": path, "most": MAX_NESTED}, path)
        for keyword in schema:
            factor *= _DEAR.get(keyword, 1)
        for keyword, value in schema.items():
            self._keyword(keyword, value, f"{path}.{keyword}", factor)
        self._level -= 1

    def _keyword(self, keyword: str, value: Any, path: str, factor: int) -> None:
        if keyword in _OTHERS:
            said = _("%(path)s can't be used here; write %(right)s.")
            raise BadInput(said % {"path": path, "right": _(_OTHERS[keyword])}, path)
        if keyword == "$ref":
            self._follow(value, path, factor)
        elif keyword in _ONE:
            self._enter(value, path, factor)
        elif keyword in _LISTS:
            for index, schema in enumerate(value):
                self._enter(schema, f"{path}[{index}]", factor)
        elif keyword in _MAPS:
            self._names += keyword == "patternProperties" and len(value)
            for name, schema in value.items():
                self._enter(schema, f"{path}.{name}", factor)
        elif keyword not in _DEFINITIONS:
            self._add(path, factor * sum(1 for _ in nodes(value, path)))

    def _follow(self, reference: str, path: str, factor: int) -> None:
        if reference in self._entered:
            said = _("%(path)s is %(given)s, which leads back to itself.")
            raise BadInput(said % {"path": path, "given": _shown(reference)}, path)
        self._entered.append(reference)
        self._enter(self._at(reference, path), "schema" + reference[1:].replace("/", "."), factor)
        self._entered.pop()

    def _at(self, reference: str, path: str) -> Any:
        """Return what stands where `reference`, # or #/ and a JSON pointer, leads to."""
        if reference != "#" and not reference.startswith("#/"):
            said = _("%(path)s is %(given)s; write # or #/ and a place in this schema.")
            raise BadInput(said % {"path": path, "given": _shown(reference)}, path)
        node = self._document
        for step in reference.split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            try:
                node = node[int(name)] if isinstance(node, list) else node[name]
            except (KeyError, IndexError, ValueError, TypeError):
                said = _("%(path)s is %(given)s, which leads nowhere.")
                raise BadInput(said % {"path": path, "given": _shown(reference)}, path) from None
        return node

    def _add(self, path: str, weight: int) -> None:
        self._weight += weight
        if self._weight > MAX_WEIGHT:
            said = _("The schema weighs over %(most)s values, references followed, at %(path)s.")
            raise BadInput(said % {"most": MAX_WEIGHT, "path": path}, path)


def _check_document(document: Any) -> None:
    if not isinstance(document, dict):
        said = _("schema is %(given)s; write an object.")
        raise BadInput(said % {"given": _shown(document)}, "schema")
    checked_document(document, "schema", most_bytes=MAX_BYTES, most_levels=MAX_LEVELS)
    if str(document.get("$schema", DRAFT)).rstrip("#") != DRAFT:
        said = _("schema.$schema is %(given)s; it is %(right)s.")
        raise BadInput(said % {"given": _shown(document["$schema"]), "right": DRAFT}, "schema.$schema")
    for node, path, _level in nodes(document, "schema"):
        if node is not document and isinstance(node, dict) and isinstance(node.get("$id"), str):
            said = _("%(path)s gives a part another name; leave it out.")
            raise BadInput(said % {"path": f"{path}.$id"}, f"{path}.$id")


def _check(check: Callable[[Any], T], document: Any) -> T:
    """Return `check(document)`; what it says against the document becomes BadInput with the place."""
    try:
        return check(document)
    except ValidationError as error:
        path = _path("schema", error.instance_path)
        said = _("%(path)s is %(given)s: %(problem)s.")
        raise BadInput(
            said % {"path": path, "given": _shown(error.instance), "problem": _in_words(error)}, path
        ) from None


def _in_words(error: ValidationError) -> str:
    """Return what of the draft's own rules a schema breaks; of the value, which is shown, nothing more."""
    if 'is not a "regex"' in error.message:
        return _(_NO_PATTERN) % {"most": MAX_PATTERN_BYTES}
    if error.kind.name not in _BROKEN:
        return error.message[:300]
    rule = error.kind.as_dict()
    given = {"types": ", ".join(rule.get("types", ())), "limit": rule.get("limit"), "pattern": rule.get("pattern")}
    return _(_BROKEN[error.kind.name]) % given


def _too_much(what: str) -> BadInput:
    return BadInput(f"{what}, more than is held against this schema for one event.", "data")


def _path(root: str, steps: list[str | int]) -> str:
    return root + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
