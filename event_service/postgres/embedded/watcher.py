"""Stop PostgreSQL when nobody uses it any more. Run by its path, on the standard library alone: see server.py."""

import contextlib
import fcntl
import os
import signal
import sys
import time
from typing import IO


def main(watch_lock: str, users: str, server: str, pid_file: str) -> None:
    with open(users, "ab") as users_lock, open(server, "ab") as server_lock:
        fcntl.flock(users_lock, fcntl.LOCK_EX)  # given when no process is left that holds it
        while not _is_free(server_lock):
            _stop(pid_file)
            time.sleep(0.05)
        # Given back before `users`: the process that comes next must find that nobody watches.
        os.close(int(watch_lock))


def _is_free(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stop(pid_file: str) -> None:
    """Ask for a fast shutdown. The file may be missing or empty while the server is starting or has stopped."""
    with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError), open(pid_file) as lines:
        os.kill(int(lines.readline()), signal.SIGINT)


if __name__ == "__main__":
    main(*sys.argv[1:])
