import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from endpoints.as_code import Mistakes, Plan, apply, plan, read, stored
from endpoints.audit import AuditedCommand
from endpoints.models import Workspace
from endpoints.tenancy import within

DIFFERS = 2


class Command(AuditedCommand):
    help = (
        "Make a workspace's endpoints, filters, links and event types as a file says, all or nothing. Ends with 0; "
        "with 2 where --dry-run finds a difference; with 1 and every mistake with its line where the file is wrong."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workspace", help="its id or name")
        parser.add_argument("file", help="YAML as `export` prints it; - reads standard input")
        parser.add_argument("--dry-run", action="store_true", help="change nothing, and say what would be changed")
        parser.add_argument("--prune", action="store_true", help="delete what is not in the file")

    def run_from_argv(self, argv: list[str]) -> None:
        self._differs = False
        try:
            super().run_from_argv(argv)
        except SystemExit as end:  # argparse's own 2, of a wrong option, is no difference
            sys.exit(end.code and 1)
        if self._differs:
            sys.exit(DIFFERS)

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.called(options["workspace"])
        try:
            found = self._apply(workspace, _text(options["file"]), dry_run=options["dry_run"], prune=options["prune"])
        except Mistakes as mistakes:
            raise CommandError(self._told(mistakes, options["file"])) from mistakes
        applied = not options["dry_run"]
        self._differs = bool(found.changes) and not applied
        self.tell(found.text(applied=applied), **found.as_dict(), applied=applied)

    def _apply(self, workspace: Workspace, text: str, *, dry_run: bool, prune: bool) -> Plan:
        file = read(text, os.environ, without_secrets=dry_run)
        for problem in file.unset:
            self.stderr.write(f"Not compared: {problem}", self.style.WARNING)
        with within(workspace.pk):
            Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)  # of two at once the second waits
            names = {name for documents in file.documents.values() for name in documents}
            found = plan(file, stored(workspace.pk, {*names, *file.renamed_from.values()}), prune=prune)
            if not dry_run:
                apply(found, file, workspace.pk)
        return found

    def _told(self, mistakes: Mistakes, file: str) -> str:
        if self.as_json:
            self.tell("", errors=[{"line": each.line, "message": each.message} for each in mistakes.all])
        return f"{file} is wrong:\n" + "\n".join(f"{file}:{each.line}: {each.message}" for each in mistakes.all)


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} can't be read: {error}.") from error
