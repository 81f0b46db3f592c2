"""The points at which the chaos suite kills: inert without it, and refused where it could hurt."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from routing import failpoints

ROOT = Path(__file__).resolve().parent.parent


def settings_with(**environment: str) -> str:
    """Return what a process says that loads the settings, and nothing else, under these variables."""
    loading = subprocess.run(
        [sys.executable, "-c", "from event_service import settings; print(settings.FAILPOINTS)"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )
    return (loading.stdout or loading.stderr.splitlines()[-1]).strip()


def test_under_ordinary_settings_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "failpoints").mkdir()

    assert settings_with(DATA_DIR=str(tmp_path)) == "None"


def test_they_are_refused_in_a_folder_that_the_suite_has_not_prepared(tmp_path: Path) -> None:
    assert f"it needs the folder {tmp_path}/failpoints" in settings_with(
        DATA_DIR=str(tmp_path), EVENT_SERVICE_FAILPOINTS="1"
    )


def test_they_are_refused_beside_somebodys_database(tmp_path: Path) -> None:
    (tmp_path / "failpoints").mkdir()

    assert "no DATABASE_URL" in settings_with(
        DATA_DIR=str(tmp_path), EVENT_SERVICE_FAILPOINTS="1", DATABASE_URL="postgres://localhost/ours"
    )


def test_a_point_that_is_armed_sends_its_signal_once(
    tmp_path: Path, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "FAILPOINTS", tmp_path)
    received: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: received.append(number))
    (tmp_path / "K4").write_text("SIGSTOP")

    for name in ("K5", "K4", "K4"):
        failpoints.reach(name)

    assert received == [signal.SIGSTOP]
