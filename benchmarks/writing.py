"""The three files of a report: JSON, and the page and the plot that are made from it."""

from pathlib import Path

from benchmarks import plot, text
from benchmarks.report import Report


def write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath(f"{report.name}.json").write_bytes(report.json())
    folder.joinpath(f"{report.name}.md").write_text(text.markdown(report))
    folder.joinpath(f"{report.name}.svg").write_text(plot.svg(report))
