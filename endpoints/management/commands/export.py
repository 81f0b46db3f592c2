from argparse import ArgumentParser
from typing import Any

from endpoints.as_code import exported, stored, text_of
from endpoints.models import Workspace
from endpoints.telling import TellingCommand
from endpoints.tenancy import within


class Command(TellingCommand):
    help = "Print a workspace's endpoints, filters, links and event types as YAML for `apply`, without any secret."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workspace", help="its id or name")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.called(options["workspace"])
        with within(workspace.pk):
            file = exported(stored(workspace.pk))
        self.tell(text_of(file).rstrip("\n"), **file)
