from typing import Any

from django.core.management import call_command

from routing.management.commands import serve


class Command(serve.Command):
    help = "All that a first start needs and the whole service: migrate, first_start, serve."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        at = {"host": options["host"], "port": options["port"]}
        call_command("first_start", json=self.as_json, stdout=self.stdout, **at)
        super().handle(*args, **options)
