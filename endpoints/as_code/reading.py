"""A file of configuration, read into documents with everything that is wrong in it said at once."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from endpoints.as_code.documents import ENDPOINTS, FILTERS, KINDS, NOUNS, TYPES, Document, Documents, without_defaults
from endpoints.as_code.fields import CHECKS, REQUIRED
from endpoints.as_code.references import References
from endpoints.as_code.writing import VERSION
from endpoints.as_code.yaml_text import Lines, Path, Unreadable, load
from endpoints.errors import ServiceError

OF_WEBHOOKS: tuple[str, ...] = (
    "url",
    "method",
    "headers",
    "secret",
    "asymmetricSignatures",
    "retryPolicy",
    "maxInFlight",
    "rateLimit",
)
OF_WEBHOOKS += ("ordering", "payloadFormat")


@dataclass(frozen=True, order=True)
class Mistake:
    line: int
    message: str


class Mistakes(ServiceError):
    code = "BAD_USER_INPUT"

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.all = sorted(set(mistakes))
        super().__init__("; ".join(f"line {mistake.line}: {mistake.message}" for mistake in self.all))


@dataclass
class File:
    """What a file says: documents, from which name each object was renamed, and where each stands."""

    documents: Documents = field(default_factory=lambda: {kind: {} for kind in KINDS})
    renamed_from: dict[tuple[str, str], str] = field(default_factory=dict)
    line_of: dict[tuple[str, str], int] = field(default_factory=dict)
    unset: list[str] = field(default_factory=list)  # references whose values are not here


def read(text: str, environment: Mapping[str, str], *, without_secrets: bool = False) -> File:
    """Return what the file says. Raises Mistakes with all of them; a secret that is not here is one, unless told."""
    try:
        document, lines = load(text)
    except Unreadable as error:
        raise Mistakes([Mistake(error.line, str(error))]) from None
    reader = _Reader(lines, References(environment))
    reader.read(document)
    reader.file.unset = reader.references.unset
    if reader.references.unset and not without_secrets:
        reader.mistakes += [Mistake(*each) for each in reader.unset_at]
    if reader.mistakes:
        raise Mistakes(reader.mistakes)
    return reader.file


class _Reader:
    def __init__(self, lines: Lines, references: References) -> None:
        self.lines = lines
        self.references = references
        self.mistakes: list[Mistake] = []
        self.unset_at: list[tuple[int, str]] = []
        self.file = File()

    def read(self, document: Any) -> None:
        if not isinstance(document, dict):
            self._refuse((), f"The file is no mapping; write version: {VERSION} and {', '.join(KINDS)}.")
            return
        for name in document.keys() - {"version", *KINDS}:
            self._refuse((name,), f"{name} is unknown; use version, {', '.join(KINDS)}.")
        if document.get("version") != VERSION:
            self._refuse(("version",), f"version is {document.get('version')!r}; this service reads {VERSION}.")
        for kind in KINDS:
            items = document.get(kind) or []
            if isinstance(items, list):
                for index, item in enumerate(items):
                    self._item(kind, item, (kind, index))
            else:
                self._refuse((kind,), f"{kind} is no list.")
        self._check_links()

    def _item(self, kind: str, item: Any, path: Path) -> None:
        if not isinstance(item, dict):
            self._refuse(path, f"{NOUNS[kind]} is no mapping; write name: and its fields.")
            return
        for missing in REQUIRED[kind] - item.keys():
            self._refuse(path, f"{NOUNS[kind]} {item.get('name', '')!r} has no {missing}.")
        for unknown in item.keys() - CHECKS[kind].keys():
            self._refuse((*path, unknown), f"{unknown} is unknown; a {NOUNS[kind]} has {', '.join(CHECKS[kind])}.")
        known = item.keys() & CHECKS[kind].keys()
        document = {name: self._checked(kind, name, item[name], path) for name in CHECKS[kind] if name in known}
        name, renamed_from = document.pop("name", None), document.pop("renamedFrom", None)
        if name is None:
            return
        if name in self.file.documents[kind]:
            self._refuse((*path, "name"), f"{NOUNS[kind]} {name!r} is there twice.")
        if renamed_from is not None:
            self.file.renamed_from[kind, name] = renamed_from
        self._check_whole(kind, item, path)
        self.file.documents[kind][name] = without_defaults(document)
        self.file.line_of[kind, name] = self._line(path)

    def _checked(self, kind: str, name: str, value: Any, path: Path) -> Any:
        if value is None:
            return None
        try:
            known = len(self.references.unset)
            value = self.references.resolved(name, value)
            place = self._line((*path, name))
            self.unset_at += [(place, f"{name}: {each}") for each in self.references.unset[known:]]
            return CHECKS[kind][name](value)
        except ServiceError as error:
            self._refuse((*path, *_steps(name, error.field)), error.message)
            return None

    def _check_whole(self, kind: str, item: Document, path: Path) -> None:
        if kind == ENDPOINTS:
            if item.get("type") == "WEB_HOOK" and not item.get("url"):
                self._refuse(path, f"endpoint {item['name']!r} is a WEB_HOOK and has no url.")
            foreign = {"WEB_SOCKET": OF_WEBHOOKS, "WEB_HOOK": ("openAccess",)}.get(str(item.get("type")), ())
            for name in item.keys() & set(foreign):
                self._refuse((*path, name), f"A {item['type']} endpoint has no {name}.")
        if kind == TYPES and item.get("enforcement", "OFF") != "OFF" and item.get("schema") is None:
            self._refuse((*path, "enforcement"), "enforcement needs a schema; give one.")

    def _check_links(self) -> None:
        for (kind, name), line in self.file.line_of.items():
            for wanted in self.file.documents[kind][name].get("filters", ()) if kind == ENDPOINTS else ():
                if wanted not in self.file.documents[FILTERS]:
                    self.mistakes.append(Mistake(line, f"endpoint {name!r} names no filter of the file: {wanted!r}."))

    def _refuse(self, path: Path, message: str) -> None:
        self.mistakes.append(Mistake(self._line(path), message))

    def _line(self, path: Path) -> int:
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def _steps(name: str, place: str | None) -> Path:
    """Return the way to what is wrong in a field, from such as retryPolicy.schedule[2]."""
    steps = [
        int(index) if index else step for step, index in re.findall(r"([^.\[\]]+(?![^\[]*\]))|\[(\d+)\]", place or "")
    ]
    return tuple(steps) if steps[:1] == [name] else (name, *steps)
