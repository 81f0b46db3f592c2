"""Charts, drawn on the server: where each mark stands, for templates to write down as SVG.

A page's policy allows no style in it, so all geometry is in attributes and all colours are in the stylesheet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.formats import number_format

WIDTH, HEIGHT = 720, 160  # of the drawing's own units; it takes the room that it gets


@dataclass(frozen=True)
class Mark:
    x: float
    y: float
    width: float
    height: float
    kind: str  # its class
    title: str = ""


@dataclass(frozen=True)
class Chart:
    title: str
    marks: Sequence[Mark]
    highest: int
    first: str  # what stands at the beginning of the axis ...
    last: str  # ... and at its end
    rows: Sequence[Sequence[object]]  # the same as a table: the heading, then a row a period that has something
    width: int = WIDTH
    height: int = HEIGHT


def stacked(
    title: str, labels: Sequence[str], kinds: Sequence[tuple[str, str]], values: Sequence[Sequence[int]]
) -> Chart:
    """Return bars over time, each made of one part for each of `kinds`, which are (class, name), from the bottom up."""
    highest = max((sum(parts) for parts in values), default=0)
    step = WIDTH / max(len(values), 1)
    marks = []
    for place, (label, parts) in enumerate(zip(labels, values, strict=True)):
        top = float(HEIGHT)
        said = ", ".join(
            f"{number_format(count, force_grouping=True)} {name}"
            for (_, name), count in zip(kinds, parts, strict=True)
            if count
        )
        for (kind, _), count in zip(kinds, parts, strict=True):
            if count:
                height = max(2.0, HEIGHT * count / highest)
                top -= height
                box = (round(place * step + step * 0.1, 2), round(max(top, 0), 2), round(step * 0.8, 2))
                marks.append(Mark(*box, round(height, 2), kind, f"{label}: {said}"))
    rows: list[Sequence[object]] = [("", *(name for _, name in kinds))]
    rows += [(label, *parts) for label, parts in zip(labels, values, strict=True) if any(parts)]
    return Chart(title, marks, highest, labels[0] if labels else "", labels[-1] if labels else "", rows)


def _said(count: int, name: str) -> str:
    return f"{number_format(count, force_grouping=True)} {name}"


def tracker(title: str, labels: Sequence[str], kinds: Sequence[str], said: Sequence[str]) -> Chart:
    """Return a row of cells, one for each label."""
    step = WIDTH / max(len(labels), 1)
    marks = [
        Mark(round(place * step + 1, 2), 0, round(step - 2, 2), 32, kind, f"{label}: {text}")
        for place, (label, kind, text) in enumerate(zip(labels, kinds, said, strict=True))
    ]
    rows = [("", ""), *((label, text) for label, kind, text in zip(labels, kinds, said, strict=True) if kind != "none")]
    return Chart(title, marks, 0, labels[0] if labels else "", labels[-1] if labels else "", rows, height=32)
