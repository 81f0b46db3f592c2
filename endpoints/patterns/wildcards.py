"""Wildcards: `*` is any text, also none; `\\*` and `\\\\` are an asterisk and a backslash."""

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"\\(?P<escaped>[*\\])|(?P<star>\*)|(?P<plain>[^*\\]+)|(?P<bad>\\.?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Wildcard:
    """The texts between the asterisks, in order: at least two."""

    parts: tuple[str, ...]

    def holds(self, text: str) -> bool:
        """Say whether the parts stand in `text`, each as early as it can: looking back is never necessary."""
        first, *middle, last = self.parts
        at, end = len(first), len(text) - len(last)
        if at > end or not text.startswith(first) or not text.endswith(last):
            return False
        for part in middle:
            at = text.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True


def parts_of(pattern: str) -> tuple[str, ...]:
    """Return the texts between the asterisks. Raises ValueError, saying what is wrong."""
    parts, starred = [""], False
    for token in _TOKEN.finditer(pattern):
        if token["bad"]:
            raise ValueError(f"has {token['bad']!r} at character {token.start()}; a backslash stands before * or \\")
        if token["star"]:
            if starred:
                raise ValueError(f"has two asterisks in a row at character {token.start()}; write one")
            parts.append("")
        else:
            parts[-1] += token["escaped"] or token["plain"]
        starred = bool(token["star"])
    return tuple(parts)
