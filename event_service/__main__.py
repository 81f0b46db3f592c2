"""The command line: of manage.py, and of `event-service` where the service is installed as a package."""

import os
import sys

INTERRUPTED = 130  # the exit code of shells


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "event_service.settings")
    try:
        _run()
    except KeyboardInterrupt:  # a command that has more to say to ^C says it itself
        sys.exit(INTERRUPTED)


def _run() -> None:
    # Imported here, as that takes long enough for a person to press ^C meanwhile.
    from django.conf import settings
    from django.core.management import execute_from_command_line
    from django.db import OperationalError
    from psycopg_pool import PoolTimeout

    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        if not isinstance(error.__cause__, PoolTimeout):
            raise
        database = settings.DATABASES["default"]
        place = f"{database['HOST']}:{database['PORT'] or 5432}"
        sys.exit(f"The database at {place} does not answer: {error}. What it said is above; see DATABASE_URL.")


def installed() -> None:
    """Run a command of manage.py; alone, or with options alone, `start`."""
    if len(sys.argv) == 1 or sys.argv[1].startswith("-") and sys.argv[1] not in ("-h", "--help", "--version"):
        sys.argv.insert(1, "start")
    main()


if __name__ == "__main__":
    main()
