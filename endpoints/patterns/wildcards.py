"""Wildcards: `*` is any text, also none; `\\*` and `\\\\` are an asterisk and a backslash."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

_TOKEN = re.compile(r"\\(?P<escaped>[*\\])|(?P<star>\*)|(?P<plain>[^*\\]+)|(?P<bad>\\.?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Wildcard:
    """The texts between the asterisks, in order: at least two."""

    parts: tuple[str, ...]
    _length: int = field(init=False, compare=False)
    _middle: tuple[str, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_length", sum(map(len, self.parts)))
        object.__setattr__(self, "_middle", self.parts[1:-1])

    def holds(self, text: str) -> bool:
        """Say whether the parts stand in `text`, each as early as it can: looking back is never necessary."""
        if len(text) < self._length or not text.startswith(self.parts[0]) or not text.endswith(self.parts[-1]):
            return False
        at, end = len(self.parts[0]), len(text) - len(self.parts[-1])
        for part in self._middle:
            at = text.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True

    def holds_on_one_of(self, texts: Collection[str]) -> bool:
        for part in filter(None, self.parts):  # which is dearer to find in its place
            texts = [text for text in texts if part in text]
        return any(map(self.holds, texts))


def parts_of(pattern: str) -> tuple[str, ...]:
    """Return the texts between the asterisks. Raises ValueError, saying what is wrong."""
    parts, starred = [""], False
    for token in _TOKEN.finditer(pattern):
        if token["bad"]:
            said = _("has %(bad)s at character %(place)s; a backslash stands before * or \\")
            raise ValueError(said % {"bad": repr(token["bad"]), "place": token.start()})
        if token["star"]:
            if starred:
                said = _("has two asterisks in a row at character %(place)s; write one")
                raise ValueError(said % {"place": token.start()})
            parts.append("")
        else:
            parts[-1] += token["escaped"] or token["plain"]
        starred = bool(token["star"])
    return tuple(parts)
