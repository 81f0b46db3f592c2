from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from endpoints.telling import TellingCommand
from event_service.contract.pages import files

FOLDER = Path(settings.BASE_DIR) / "docs/reference"


class Command(TellingCommand):
    help = "Write docs/reference from the code: the schemas (GraphQL, OpenAPI, AsyncAPI) and the pages about them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="write nothing; end with 1 where a file is out of date"
        )

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        made = files()
        stale = [name for name, text in made.items() if text != _kept(name)]
        if check and stale:
            raise CommandError(f"Out of date in docs/reference: {', '.join(stale)}. Run `manage.py reference`.")
        for name in stale:
            (FOLDER / name).write_text(made[name])
            self.tell(f"docs/reference/{name}", written=f"docs/reference/{name}")


def _kept(name: str) -> str:
    path = FOLDER / name
    return path.read_text() if path.exists() else ""
