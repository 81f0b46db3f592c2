import sys
from dataclasses import asdict
from typing import Any

from endpoints.telling import TellingCommand
from routing.doctor import ERROR, examine


class Command(TellingCommand):
    help = "Look at a deployment: settings, database, clock, workers. Says what to do; ends with 1 at an error."
    requires_system_checks: list[str] = []  # it makes findings of them

    def handle(self, *args: Any, **options: Any) -> None:
        found, well = examine()
        lines = [line for each in found for line in (f"{each.level}  {each.what}", f"       {each.do}")]
        errors = sum(each.level == ERROR for each in found)
        lines.append(f"Well: {', '.join(well)}.")
        counted = f"{_some(errors, 'error')}, {_some(len(found) - errors, 'warning')}."
        lines.append(counted if found else "All is as it should be.")
        self.tell("\n".join(lines), findings=[asdict(each) for each in found], errors=errors, well=well)
        if errors:
            sys.exit(1)


def _some(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
