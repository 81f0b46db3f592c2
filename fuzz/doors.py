"""A door: how it is asked, what is ordinary there, and what is not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from fuzz.wire import Answer

Drawn = Callable[[Random], Any]


@dataclass(frozen=True)
class Door:
    name: str
    ordinary: Any  # a case
    draw: Drawn  # another one
    send: Callable[[Any], Answer]
    check: Callable[[str, Any, Answer], None] = lambda *_: None  # what else must hold
    finish: Callable[[], None] = lambda: None
    may_show: Mapping[str, str] = field(default_factory=dict)
