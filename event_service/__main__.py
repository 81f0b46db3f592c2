"""The command line: of manage.py, and of `event-service` where the service is installed as a package."""

import os
import signal
import sys
from typing import Any

INTERRUPTED = 130  # the exit code of shells


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "event_service.settings")
    try:
        _run()
    except KeyboardInterrupt:  # a command that has more to say to ^C says it itself
        sys.exit(INTERRUPTED)


def _run() -> None:
    # To import everything takes long enough for a person to press ^C meanwhile, which then just ends the process: an
    # exception could be lost in the middle of it.
    _on_interrupt(signal.SIG_DFL)
    from django.conf import settings
    from django.core.management import ManagementUtility
    from django.db import OperationalError
    from psycopg_pool import PoolTimeout

    class Utility(ManagementUtility):
        def fetch_command(self, subcommand: str) -> Any:
            command = super().fetch_command(subcommand)
            _on_interrupt(signal.default_int_handler)  # from here on it is the command's to say
            return command

    try:
        Utility(sys.argv).execute()
    except OperationalError as error:
        if not isinstance(error.__cause__, PoolTimeout):
            raise
        database = settings.DATABASES["default"]
        place = f"{database['HOST']}:{database['PORT'] or 5432}"
        sys.exit(f"The database at {place} does not answer: {error}. What it said is above; see DATABASE_URL.")


def _on_interrupt(handler: Any) -> None:
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as shells have it for what runs in the background
        signal.signal(signal.SIGINT, handler)


def installed() -> None:
    """Run a command of manage.py; alone, or with options alone, `start`."""
    if len(sys.argv) == 1 or sys.argv[1].startswith("-") and sys.argv[1] not in ("-h", "--help", "--version"):
        sys.argv.insert(1, "start")
    main()


if __name__ == "__main__":
    main()
