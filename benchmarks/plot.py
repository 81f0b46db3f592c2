"""A bar for each target: how much of it was reached. An SVG that is readable on light and on dark pages."""

from collections.abc import Iterator
from html import escape
from math import log2

from benchmarks.figures import Figure
from benchmarks.report import Report, Run
from benchmarks.text import number, targets

NEAREST = 10  # bars of a benchmark: of more, those that reach least
ROW, BAR = 20, 12
LEFT, MIDDLE, HALF, WIDTH = 330, 480, 150, 1060  # px; where a bar begins is the target
OCTAVES = 3  # to either side: from an eighth of the target to eight times

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.benchmark { font-weight: 600 }
.note { fill: #59636e }
.met { fill: #1a7f37 }
.missed { fill: #cf222e }
line { stroke: #59636e; stroke-width: 1 }
.octave { stroke-opacity: 0.25 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .note { fill: #9198a1 }
  .met { fill: #3fb950 }
  .missed { fill: #f85149 }
  line { stroke: #9198a1 }
}
"""


def svg(report: Report) -> str:
    rows = [row for run in report.runs for row in _rows(run)]
    height = (len(rows) + 3) * ROW
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">',
            "<title>How much of each target was reached, on a scale of doublings</title>",
            f"<style>{_STYLE}</style>",
            *_scale(height),
            *(f'<g transform="translate(0 {(place + 2) * ROW})">{row}</g>' for place, row in enumerate(rows)),
            "</svg>\n",
        ]
    )


def _scale(height: int) -> Iterator[str]:
    for octave in range(-OCTAVES, OCTAVES + 1):
        x = MIDDLE + octave * HALF / OCTAVES
        name = "target" if octave == 0 else f"{2**octave} x" if octave > 0 else f"1/{2**-octave}"
        kind = "" if octave == 0 else ' class="octave"'
        yield f'<line{kind} x1="{x:.0f}" x2="{x:.0f}" y1="{1.5 * ROW:.0f}" y2="{height - ROW}"/>'
        yield f'<text class="note" x="{x:.0f}" y="{ROW}" text-anchor="middle">{name}</text>'


def _rows(run: Run) -> Iterator[str]:
    judged = [figure for figure in run.figures if figure.reached is not None]
    if not judged:
        return
    nearest = sorted(judged, key=lambda figure: figure.reached)[:NEAREST]
    left_out = f" (of {len(judged)} those that reach least)" if len(judged) > NEAREST else ""
    yield f'<text class="benchmark" x="8" y="{BAR}">{escape(run.benchmark + left_out)}</text>'
    yield from (_bar(figure) for figure in judged if figure in nearest)


def _bar(figure: Figure) -> str:
    doublings = max(-OCTAVES, min(OCTAVES, log2(figure.reached)))
    end = MIDDLE + doublings * HALF / OCTAVES
    kind, width = "met" if figure.met else "missed", max(abs(end - MIDDLE), 1)
    said = f"{number(figure.measured)} {figure.unit}"
    said += f", {figure.ratio:.2f} x" if figure.ratio is not None else ""
    return (
        f'<text x="{LEFT - 8}" y="{BAR}" text-anchor="end">{escape(_short(figure.name))}</text>'
        f'<rect class="{kind}" x="{min(MIDDLE, end):.1f}" y="2" width="{width:.1f}" height="{BAR}"/>'
        f'<text class="note" x="{MIDDLE + HALF + 16}" y="{BAR}">{escape(f"{said}; target {targets(figure)}")}</text>'
    )


def _short(name: str) -> str:
    return name if len(name) <= 46 else f"{name[:45]}…"
