"""manage.py: what it makes of failures that are not its own."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import load_command_class
from django.db import OperationalError
from psycopg_pool import PoolTimeout

from endpoints.telling import GENERAL
from event_service import __main__ as manage

RUN = "django.core.management.ManagementUtility.execute"


@pytest.fixture(autouse=True)
def interrupt():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever shell the tests run in
    yield
    signal.signal(signal.SIGINT, before)


def failing(*causes):
    def run(_):
        for cause in causes:
            raise OperationalError("no") from cause

    return run


def test_a_database_that_does_not_answer_is_named_without_a_traceback(monkeypatch):
    monkeypatch.setattr(RUN, failing(PoolTimeout()))
    with pytest.raises(
        SystemExit, match=f"^The database at {settings.DATABASES['default']['HOST']}:[0-9]+ does not answer: no."
    ):
        manage.main()


def test_what_goes_wrong_in_a_database_that_answers_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(RUN, failing(None))
    with pytest.raises(OperationalError):
        manage.main()


def test_an_interrupted_command_ends_without_a_traceback(monkeypatch):
    def run(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(RUN, run)
    with pytest.raises(SystemExit) as end:
        manage.main()
    assert end.value.code == 130


def test_nor_does_one_that_is_interrupted_while_it_is_still_imported(tmp_path):
    (tmp_path / "psycopg_pool.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    command = [sys.executable, settings.BASE_DIR / "manage.py", "check"]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, b"")


@pytest.mark.parametrize(
    ("before", "then"),
    [(signal.default_int_handler, signal.default_int_handler), (signal.SIG_IGN, signal.SIG_IGN)],
    ids=["as ever", "in the background of a shell"],
)
def test_a_command_that_has_begun_is_interrupted_as_it_says_itself(monkeypatch, before, then):
    seen = []
    begin = "django.core.management.base.BaseCommand.run_from_argv"
    monkeypatch.setattr(begin, lambda _command, _argv: seen.append(signal.getsignal(signal.SIGINT)))
    monkeypatch.setattr("sys.argv", ["manage.py", "check"])
    signal.signal(signal.SIGINT, before)
    manage.main()
    assert seen == [then]


@pytest.mark.parametrize(
    ("given", "run"),
    [([], ["start"]), (["--port", "0"], ["start", "--port", "0"]), (["check"], ["check"]), (["--help"], ["--help"])],
)
def test_the_installed_command_alone_starts_everything(monkeypatch, given, run):
    ran = []
    monkeypatch.setattr(RUN, lambda utility: ran.append(utility.argv))
    monkeypatch.setattr("sys.argv", ["event-service", *given])
    manage.installed()
    assert ran == [["event-service", *run]]


def test_the_help_of_each_command_is_about_the_command():
    for app in ("endpoints", "routing"):
        for path in (settings.BASE_DIR / app / "management/commands").glob("[a-z]*.py"):
            told = load_command_class(app, path.stem).create_parser("manage.py", path.stem).format_help()
            assert [option for option in GENERAL if option in told] == []
