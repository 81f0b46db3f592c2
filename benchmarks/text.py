"""How figures read: a line each while they come, and the table of `latest.md`."""

from collections.abc import Iterator

from benchmarks.figures import Cost, Figure, Found, Target
from benchmarks.report import Report, Run


def line(found: Found) -> str:
    return _figure_line(found) if isinstance(found, Figure) else _cost_line(found)


def _figure_line(figure: Figure) -> str:
    parts = [f"  {figure.name:42} {number(figure.measured):>9} {figure.unit}"]
    if figure.ratio is not None:
        parts.append(f"beside {number(figure.baseline)}, ratio {figure.ratio:.2f}")
    if figure.targets:
        parts.append(f"(target {targets(figure)}: {verdict(figure)})")
    return "  ".join(parts)


def _cost_line(cost: Cost) -> str:
    by = ", ".join(f"{kind} {spent.cpu_s:.3f} s and {spent.peak_mib:.0f} MiB" for kind, spent in cost.by.items())
    return f"  {cost.name:42} 1,000 {cost.unit} cost {by}"


def number(value: float | None) -> str:
    """Three digits or more: 0.0123, 1.23, 12.3, 1,234."""
    if value is None:
        return ""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"


def targets(figure: Figure) -> str:
    return " or ".join(_target(each, figure.unit) for each in figure.targets)


def _target(target: Target, unit: str) -> str:
    limit = f"{target.limit:,.6g}"
    return {
        "ratio": f"{target.holds} {limit} x",
        "more": f"{target.holds} {limit} {unit} more",
        "measured": f"{target.holds} {limit} {unit}",
    }[target.of]


def verdict(figure: Figure) -> str:
    return "" if figure.met is None else "met" if figure.met else "missed"


def markdown(report: Report) -> str:
    """Return the page that is made of a report."""
    return "\n".join([*_head(report), *(line for run in report.runs for line in _section(run)), ""])


def _head(report: Report) -> Iterator[str]:
    met = [figure.met for run in report.runs for figure in run.figures if figure.met is not None]
    yield from ("# Figures", "")
    yield "Written by `script/bench`; do not edit. [README](README.md) says what is measured and how."
    yield from ("", f"{report.machine}. {met.count(True)} targets met, {met.count(False)} missed.", "")
    yield from (f"![How much of each target was reached]({report.name}.svg)", "")


def _section(run: Run) -> Iterator[str]:
    yield from (f"## {run.benchmark}", "")
    loads = f"load average {run.load_before} before, {run.load_after} at the end"
    yield f"{run.began_at}, commit {run.commit}, {run.seconds:.0f} s; {loads}."
    if run.figures:
        yield from ("", "| | baseline | measured | ratio | target | |", "|---|---|---|---|---|---|")
        yield from (_row(figure) for figure in run.figures)
    if run.costs:
        kinds = list(dict.fromkeys(kind for cost in run.costs for kind in cost.by))
        yield from ("", f"| CPU for each 1,000, peak memory | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|")
        yield from (_cost_row(cost, kinds) for cost in run.costs)
    yield ""


def _row(figure: Figure) -> str:
    measured = f"{number(figure.measured)} {figure.unit}"
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    judged = f"**{verdict(figure)}**" if figure.met is False else verdict(figure)
    cells = (_cell(figure.name), number(figure.baseline), measured, ratio, targets(figure), judged)
    return f"| {' | '.join(cells)} |"


def _cost_row(cost: Cost, kinds: list[str]) -> str:
    spent = [cost.by.get(kind) for kind in kinds]
    cells = [f"{each.cpu_s:.3f} s, {each.peak_mib:.0f} MiB" if each else "" for each in spent]
    return f"| {_cell(cost.name)}: {cost.unit} | {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Queries have braces and pipes."""
    return f"`{text}`" if "{" in text else text.replace("|", "\\|")
