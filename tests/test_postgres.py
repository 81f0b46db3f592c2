"""The PostgreSQL beside the service, used by real processes that come, go and are killed."""

import fcntl
import getpass
import os
import pwd
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import psutil
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from event_service import settings as installed
from event_service.postgres.embedded import place, watcher
from tests.service import DEADLINE_S, wait_until

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can become another user")

# Answers each line, a query, with one line: its value or what went wrong. Without django.setup(), which would
# take most of the time: the backend needs the settings only.
CLIENT = """
import sys
from django.db import OperationalError, connection
for query in sys.stdin:
    try:
        with connection.cursor() as taken:
            result = taken.execute(query)
            print(result.fetchone()[0] if result.description else "done", flush=True)
    except OperationalError as error:
        print("OperationalError:", " ".join(str(error).split()), flush=True)
    finally:
        connection.close()
"""
# The same on the pool's connections, with nothing of Django in between.
POOL_CLIENT = (
    CLIENT.replace("OperationalError, connection", "connection; from psycopg import OperationalError")
    .replace("for query", "pool = connection.pool\npool.open()\nfor query")
    .replace("connection.cursor()", "pool.connection()")
)
STARTED = "SELECT pg_postmaster_start_time()"


class Client:
    def __init__(self, data_dir: Path, user: str | None, program: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program],
            cwd=settings.BASE_DIR,
            env=_environment(data_dir),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            user=user,
            extra_groups=None if user is None else [],
        )

    def send(self, query: str) -> None:
        self.process.stdin.write(f"{query}\n")
        self.process.stdin.flush()

    def receive(self) -> str:
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, query: str) -> str:
        self.send(query)
        return self.receive()

    def leave(self) -> None:
        self.process.stdin.close()
        assert self.process.wait() == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def _environment(data_dir: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return inherited | {"DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "event_service.settings"}


def server_of(data_dir: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(int((data_dir / "postgres/postmaster.pid").read_text().split()[0]))
        return process if process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, IndexError, psutil.NoSuchProcess):
        return None


def watchers_of(data_dir: Path) -> list[psutil.Process]:
    pid_file = str((data_dir / "postgres").resolve() / "postmaster.pid")
    processes = psutil.process_iter(["cmdline"])
    return [one for one in processes if {watcher.__file__, pid_file} <= set(one.info["cmdline"] or ())]


def wait_until_stopped(data_dir: Path) -> None:
    """Block on the watcher's lock, which it gives back when the server is gone; SIGALRM ends a test that hangs."""
    signal.alarm(DEADLINE_S)
    with (data_dir / "postgres").resolve().with_name("postgres.watch").open() as watch:
        fcntl.flock(watch, fcntl.LOCK_EX)
    signal.alarm(0)
    assert server_of(data_dir) is None


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder that every user can enter, as pytest's own can't be, with a space in its name."""
    folder = Path(tempfile.mkdtemp(prefix="event service "))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def start(data_dir: Path) -> Iterator[Callable[..., Client]]:
    clients = []

    def start(data_dir: Path = data_dir, user: str | None = None, program: str = CLIENT) -> Client:
        clients.append((data_dir, Client(data_dir, user, program)))
        return clients[-1][1]

    yield start
    for _, client in clients:
        client.kill()
    for used, _ in clients:
        wait_until_stopped(used)


def test_the_first_connection_starts_it_and_not_the_process(start, data_dir):
    client = start()
    client.process.stdin.flush()
    assert server_of(data_dir) is None
    assert client.ask("SELECT current_database()") == "event_service"
    assert server_of(data_dir) is not None


def test_it_is_durable_and_has_no_tcp_port(start):
    client = start()
    names = ["fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "jit"]
    assert [client.ask(f"SHOW {name}") for name in names] == ["on", "on", "on", "", "off"]


def test_processes_share_it_until_the_last_one_leaves(start, data_dir):
    first, second = start(), start()
    started = first.ask(STARTED)
    assert second.ask(STARTED) == started
    first.leave()
    assert second.ask(STARTED) == started
    second.leave()
    wait_until_stopped(data_dir)


def test_a_later_process_finds_the_data(start, data_dir):
    writer = start()
    assert writer.ask("CREATE TABLE kept AS SELECT 42 AS number") == "done"
    writer.leave()
    wait_until_stopped(data_dir)
    assert start().ask("SELECT number FROM kept") == "42"


def test_a_herd_starts_one_server_with_one_watcher(start, data_dir):
    herd = [start() for _ in range(8)]
    for client in herd:
        client.send(STARTED)
    assert len({client.receive() for client in herd}) == 1
    assert len(watchers_of(data_dir)) == 1


def test_a_process_that_is_killed_takes_nothing_with_it(start, data_dir):
    killed, survivor = start(), start()
    started = killed.ask(STARTED)
    assert survivor.ask(STARTED) == started
    killed.kill()
    assert survivor.ask(STARTED) == started
    survivor.kill()
    wait_until_stopped(data_dir)


def test_a_killed_server_is_started_again_by_the_next_connection(start, data_dir):
    client = start()
    started = client.ask(STARTED)
    assert client.ask("CREATE TABLE kept AS SELECT 42 AS number") == "done"
    server_of(data_dir).kill()
    wait_until(lambda: client.ask(f"{STARTED} > '{started}'"), "True".__eq__)
    assert client.ask("SELECT number FROM kept") == "42"
    client.leave()
    wait_until_stopped(data_dir)


def test_the_pool_starts_a_killed_server_again(start, data_dir):
    client = start(program=POOL_CLIENT)
    started = client.ask(STARTED)
    server_of(data_dir).kill()
    wait_until(lambda: client.ask(f"{STARTED} > '{started}'"), "True".__eq__)


def test_all_is_well_after_everything_was_killed_at_once(start, data_dir):
    client = start()
    assert client.ask("CREATE TABLE kept AS SELECT 42 AS number") == "done"
    for process in [client.process, *watchers_of(data_dir), server_of(data_dir)]:
        process.send_signal(signal.SIGKILL)
    again = start()
    assert again.ask("SELECT number FROM kept") == "42"
    again.leave()
    wait_until_stopped(data_dir)


def test_a_server_without_watcher_is_used_and_gets_one(start, data_dir):
    client = start()
    started = client.ask(STARTED)
    [killed] = watchers_of(data_dir)
    killed.kill()
    client.kill()
    again = start()
    assert again.ask(STARTED) == started
    again.leave()
    wait_until_stopped(data_dir)


def test_the_pid_of_a_stranger_is_not_taken_for_the_server(start, data_dir):
    client = start()
    assert client.ask("SELECT 1") == "1"
    owner = (data_dir / "postgres").stat().st_uid
    stranger = subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=owner)
    server_of(data_dir).kill()
    client.kill()
    for left in [data_dir / "postgres/postmaster.pid", data_dir / "postgres/.s.PGSQL.5432.lock"]:
        lines = left.read_text().splitlines(keepends=True)
        left.write_text("".join([f"{stranger.pid}\n", *lines[1:]]))
    assert start().ask("SELECT 2") == "2"
    stranger.communicate()


def test_a_start_that_fails_says_why_and_a_later_one_can_succeed(start, data_dir):
    client = start()
    assert client.ask("SELECT 1") == "1"
    client.leave()
    wait_until_stopped(data_dir)
    version = data_dir / "postgres/PG_VERSION"
    version.write_text("9.6\n")
    client = start()
    assert "not compatible with this version" in client.ask("SELECT 1")
    version.write_text("18\n")
    assert client.ask("SELECT 1") == "1"


@pytest.mark.parametrize("name", ["deep" * 40, 'it\'s, a "name"'], ids=["long", "odd"])
def test_any_path_will_do(start, data_dir, name):
    client = start(data_dir / name)
    sockets = client.ask("SHOW unix_socket_directories")
    assert Path(sockets).parent == Path("/tmp")
    assert client.ask("SELECT current_database()") == "event_service"
    client.leave()
    wait_until_stopped(data_dir / name)
    shutil.rmtree(sockets)


def test_dbshell_opens_the_database(data_dir):
    command = [sys.executable, "manage.py", "dbshell", "--", "-Atc", "SELECT current_database()"]
    shell = subprocess.run(command, cwd=settings.BASE_DIR, env=_environment(data_dir), capture_output=True, text=True)
    assert (shell.stdout, shell.stderr, shell.returncode) == ("event_service\n", "", 0)
    wait_until_stopped(data_dir)


@needs_root
def test_for_root_it_runs_where_only_root_can_enter_and_no_permission_changes(start, data_dir):
    data_dir.chmod(0o700)
    client = start(data_dir / "var")
    assert client.ask("SELECT current_database()") == "event_service"
    assert server_of(data_dir / "var").username() == "nobody"
    assert data_dir.stat().st_mode & 0o777 == 0o700


@needs_root
def test_for_root_the_programs_are_copied_where_only_root_can_enter(data_dir, monkeypatch):
    installed = _installed_programs_for_root_alone(data_dir)
    monkeypatch.setattr(place, "_installed_programs", lambda: installed)
    monkeypatch.setattr(place, "COPIES", data_dir / "copies")
    chosen = place.choose_place(data_dir)
    assert chosen.programs.is_relative_to(data_dir / "copies")
    assert chosen.account.run([chosen.programs / "initdb", "--version"]) == 0
    assert place.choose_place(data_dir) == chosen


def _installed_programs_for_root_alone(folder: Path) -> Path:
    packages = folder / "packages"
    place._copy_package(place._installed_programs().parents[2], packages)
    packages.chmod(0o700)
    return packages / place.PROGRAMS


@needs_root
def test_an_ordinary_user_runs_it_as_itself(start, data_dir, ordinary_user):
    os.chown(data_dir, pwd.getpwnam(ordinary_user).pw_uid, -1)
    client = start(user=ordinary_user)
    assert client.ask("SELECT current_database()") == "event_service"
    assert server_of(data_dir).username() == ordinary_user
    assert start().ask(STARTED) == client.ask(STARTED)  # root shares it


@needs_root
def test_data_of_another_user_is_refused_with_the_way_out(start, data_dir, ordinary_user):
    assert start().ask("SELECT 1") == "1"
    for kept in ("secret_key", "sealing_key"):
        (data_dir / kept).chmod(0o644)
    said = start(user=ordinary_user).ask("SELECT 1")
    assert "belongs to the user nobody" in said
    assert "DATA_DIR" in said


def test_a_key_of_another_user_is_refused_with_the_way_out(tmp_path, monkeypatch):
    (tmp_path / "secret_key").touch()
    monkeypatch.setattr(installed, "DATA_DIR", tmp_path)
    way_out = f"belongs to the user {getpass.getuser()} and can't be read.*DATA_DIR"
    with (
        patch.object(Path, "read_text", side_effect=PermissionError),
        pytest.raises(ImproperlyConfigured, match=way_out),
    ):
        installed._kept("secret_key", str)


@pytest.fixture
def ordinary_user() -> str:
    user = pwd.getpwnam("daemon")
    account = place.Account(user.pw_uid, user.pw_gid)
    if not (account.can_enter(settings.BASE_DIR) and account.can_enter(Path(sys.executable))):
        pytest.skip(f"the user {user.pw_name} can't enter {settings.BASE_DIR} or run {sys.executable}")
    return user.pw_name


def test_without_the_package_the_error_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "PACKAGE", "no_such_package")
    with pytest.raises(ImproperlyConfigured, match="Set DATABASE_URL"):
        place.choose_place(tmp_path)


def test_on_windows_the_error_names_the_way_out(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ImproperlyConfigured, match="set DATABASE_URL"):
        runpy.run_path(str(Path(place.__file__).with_name("base.py")))


def test_a_host_that_is_gone_without_a_word_is_given_up_by_us_and_by_the_server(db):
    connection.ensure_connection()
    told = connection.connection.info.get_parameters()

    assert (told["tcp_user_timeout"], told["keepalives_idle"], told["connect_timeout"]) == ("25000", "10", "10")
    assert "-c tcp_user_timeout=25000" in told["options"]
    assert "-c tcp_keepalives_idle=10" in told["options"]
