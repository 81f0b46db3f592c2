"""The supervisor: a real one, over the real web server and workers that are a few lines long."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

DEADLINE_S = 20  # for every step that waits; a test that comes here fails

SUPERVISOR = """
import json, socket, sys
from routing.supervisor import Supervisor

web, workers, grace_s = json.loads(sys.argv[1])
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
ready = lambda: print("ready", port, flush=True)
sys.exit(not Supervisor(listener, web=web, workers=workers, on_ready=ready, grace_s=grace_s).run())
"""
WEB = [sys.executable, "-m", "tests.server_app"]
# It says who it is, then waits for SIGTERM, says that and ends.
WORKER = [
    sys.executable,
    "-c",
    """
import os, signal, sys
from routing import lifeline
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
lifeline.watch(int(sys.argv[sys.argv.index("--lifeline") + 1]))
os.write(1, b"worker %d\\n" % os.getpid())
signal.sigwait([signal.SIGTERM])
os.write(1, b"settled\\n")
""",
]
STUBBORN = [sys.executable, "-c", "import os, time; os.write(1, b'stubborn\\n'); time.sleep(1000)"]
FRAIL = [sys.executable, "-c", "import os, time; os.write(1, b'born %f\\n' % time.monotonic())"]


class Supervised:
    """A supervisor and its children, which write to one pipe: its end is the end of the last of them."""

    def __init__(self, *, web, workers, grace_s):
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, json.dumps([web, workers, grace_s])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.watchdog = threading.Timer(2 * DEADLINE_S, self.kill)
        self.watchdog.start()

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def lines(self, count):
        return sorted(self.line() for _ in range(count))

    def rest(self):
        """Return what is still to come, once the supervisor and all children have ended."""
        return self.process.stdout.read().splitlines()

    def log(self):
        """Return the next line of the supervisor's log."""
        return self.process.stderr.readline().rstrip("\n")

    def children(self):
        return psutil.Process(self.process.pid).children()

    def kill(self):
        if self.process.poll() is None:
            children = self.children()
            self.process.kill()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()

    def stop(self):
        self.watchdog.cancel()
        self.kill()
        self.process.communicate()


@contextmanager
def supervised(*, web=(), workers=(), grace_s=DEADLINE_S):
    found = Supervised(web=web, workers=workers, grace_s=grace_s)
    try:
        yield found
    finally:
        found.stop()


def ask(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    with closing(connection):
        connection.request("GET", path)
        with connection.getresponse() as response:
            return response.read().decode()


def terminate(service, port):
    """Send SIGTERM; return when the web process acts on it."""
    with connect(f"ws://127.0.0.1:{port}/") as websocket:
        service.process.terminate()
        with pytest.raises(ConnectionClosed):
            websocket.recv(timeout=DEADLINE_S)


def port_of(ready):
    word, port = ready.split()
    assert word == "ready"
    return int(port)


def worker_pid(line):
    word, pid = line.split()
    assert word == "worker"
    return int(pid)


def test_it_says_once_that_it_is_ready_and_serves_then():
    with supervised(web=[WEB]) as service:
        port = port_of(service.line())
        os.kill(int(ask(port, "/pid")), signal.SIGKILL)
        ask(port, "/pid")  # the next process serves, too

        service.process.terminate()
        assert service.rest() == []


def test_it_is_not_ready_before_every_web_process_serves():
    with supervised(web=[WEB, FRAIL]) as service:
        assert [service.line().split()[0] for _ in range(3)] == ["born"] * 3


def test_sigterm_drains_the_web_lets_workers_settle_and_ends_with_zero():
    with supervised(web=[WEB], workers=[WORKER, WORKER]) as service:
        *_, ready = sorted(service.lines(3), key=lambda line: line.startswith("ready"))
        reader = http.client.HTTPConnection("127.0.0.1", port_of(ready), timeout=DEADLINE_S)
        reader.request("GET", "/big?20000000")
        with closing(reader), reader.getresponse() as response:
            terminate(service, port_of(ready))
            with pytest.raises(ConnectionRefusedError):
                ask(port_of(ready), "/")
            assert len(response.read()) == 20_000_000
        assert service.lines(4) == ["The websocket is closed.", "gone 1012", "settled", "settled"]

        assert service.process.wait(DEADLINE_S) == 0
        assert service.rest() == []


def test_a_web_process_that_is_killed_is_started_again_and_the_port_stays_open():
    with supervised(web=[WEB]) as service:
        port = port_of(service.line())
        first = int(ask(port, "/pid"))
        os.kill(first, signal.SIGKILL)

        assert int(ask(port, "/pid")) != first  # accepted by the kernel at once, answered by the next process
        assert service.log() == f"web 1 (pid {first}) ended with -9; starting it again"


def test_while_one_web_process_hangs_another_serves():
    with supervised(web=[WEB, WEB]) as service:
        port = port_of(service.line())
        hanging = int(ask(port, "/pid"))
        os.kill(hanging, signal.SIGSTOP)

        assert int(ask(port, "/pid")) != hanging


def test_a_worker_that_is_killed_is_started_again():
    with supervised(workers=[WORKER]) as service:
        first = worker_pid(service.line())
        os.kill(first, signal.SIGKILL)

        assert worker_pid(service.line()) != first
        assert service.log() == f"worker 1 (pid {first}) ended with -9; starting it again"


def test_a_child_that_could_not_be_started_is_tried_again(tmp_path):
    program, ready = tmp_path / "worker", tmp_path / "ready"
    with supervised(web=[], workers=[[str(program)]]) as running:
        assert running.log().startswith("worker 1 could not be started, trying again: [Errno 2]")
        ready.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{WORKER[2]}' \"$@\"")
        ready.chmod(0o755)
        ready.rename(program)
        assert running.line().startswith("worker ")


def test_a_child_that_cannot_live_is_started_once_a_second_at_most():
    with supervised(workers=[FRAIL]) as service:
        born = [float(service.line().removeprefix("born ")) for _ in range(3)]

    # From its first statement: how long Python takes to come to that varies.
    assert born[2] - born[0] > 1.5


def test_a_child_that_does_not_end_is_killed_and_the_exit_says_so():
    ignoring = [STUBBORN[0], "-c", "import signal; signal.signal(15, signal.SIG_IGN); " + STUBBORN[2]]
    with supervised(workers=[ignoring], grace_s=0.5) as service:
        assert service.line() == "stubborn"
        service.process.terminate()

        assert service.process.wait(DEADLINE_S) == 1
        assert service.log() == "Killing 1 processes, 0.5 s after the signal to stop"
        assert service.rest() == []


def test_when_the_supervisor_is_killed_its_children_end_by_themselves():
    with supervised(web=[WEB], workers=[WORKER]) as service:
        service.lines(2)
        service.process.kill()

        assert service.rest() == ["settled"]


def test_children_are_out_of_reach_of_the_terminals_interrupt():
    with supervised(web=[WEB], workers=[WORKER]) as service:
        service.lines(2)
        groups = {os.getpgid(child.pid) for child in service.children()}

        assert len(groups) == 2
        assert os.getpgid(service.process.pid) not in groups


def serve(*options):
    command = [sys.executable, "manage.py", "serve", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)


def test_a_taken_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = serve("--host", "127.0.0.1", "--port", str(port))

    assert ended.returncode == 1
    assert ended.stderr == (
        f"CommandError: Can't listen on 127.0.0.1:{port}: Address already in use. "
        "Choose another --host or --port (or HOST, PORT).\n"
    )


@pytest.mark.parametrize("option", [("--web", "0"), ("--workers", "many"), ("--port", "65536")])
def test_a_wrong_number_is_named(option):
    ended = serve(*option)

    assert ended.returncode == 2
    assert f"argument {option[0]}: '{option[1]}' is no " in ended.stderr
