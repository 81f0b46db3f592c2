"""What commands print: for people, and for programs."""

import io
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class

from endpoints.models import Workspace
from endpoints.telling import TellingCommand, progress

OURS = [(name, app) for name, app in get_commands().items() if app in ("endpoints", "routing")]


def told(name, *arguments):
    out = io.StringIO()
    call_command(name, *arguments, "--json", stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("name", "app"), OURS)
def test_each_command_that_prints_has_json(name, app):
    command = load_command_class(app, name)
    source = Path(__import__(type(command).__module__, fromlist=["_"]).__file__).read_text()
    assert isinstance(command, TellingCommand) or not re.search(r"self\.stdout|print\(", source)


@pytest.mark.django_db
def test_commands_answer_programs_in_one_form(django_user_model):
    (first,) = told("first_start", "--host", "0.0.0.0", "--port", "8123")
    assert first["address"] == "127.0.0.1:8123"
    assert first.keys() == {"address", "user", "password", "workspaceId", "apiKey"}
    (made,) = told("create_workspace", "Ünique")
    (key,) = told("create_key", "Ünique", "--scope", "read")
    assert made.keys() == key.keys() == {"workspaceId", "apiKey"}
    assert key["workspaceId"] == made["workspaceId"]
    assert told("prune_audit", "--days", "400") == [{"forgotten": 0}]
    assert told("reseal") == [{"resealed": 0, "unreadable": []}]
    assert told("new_epoch") == [{"endpoints": 0}]
    assert [line["group"] for line in told("create_groups")] == ["viewer", "operator", "manager"]
    assert len(told("two_factor", "admin")[0]["codes"]) == 10
    assert told("two_factor", "admin", "--remove") == [{"username": "admin", "removed": True}]


def test_a_workspace_that_is_not_there_is_refused_with_what_was_meant(workspace):
    with pytest.raises(CommandError, match="no workspace with the id or name 'Our'. Is it 'Ours'?"):
        call_command("create_key", "Our", "--scope", "read")


def test_progress_is_drawn_on_a_terminal_alone():
    terminal, file = Terminal(), io.StringIO()
    assert list(progress(range(60), total=60, what="export", stream=terminal)) == list(range(60))
    assert list(progress(range(60), total=60, what="export", stream=file)) == list(range(60))
    frames = terminal.getvalue().split("\r")
    assert frames[1] == f"export [{'.' * 30}] 0 of 60"
    assert frames[-2:] == [f"export [{'#' * 30}] 60 of 60", "\033[K"]
    assert file.getvalue() == ""


def test_names_are_completed_in_bash(workspace, web_socket, tmp_path):
    Workspace.objects.create(name="Other people's")
    out = io.StringIO()
    call_command("completion", stdout=out)
    service = tmp_path / "event-service"  # answers what this process knows
    names = {kind: tmp_path / kind for kind in ("workspaces", "endpoints")}
    for kind, file in names.items():
        with file.open("w") as answer:
            call_command("completion", "--names", kind, stdout=answer)
    service.write_text(
        f'#!/bin/sh\n[ "$2" = --names ] && cat {tmp_path}/"$3" || echo "$DJANGO_AUTO_COMPLETE $COMP_WORDS"\n'
    )
    service.chmod(0o755)

    def completed(*words):
        asked = " ".join(map(shlex.quote, words))
        script = f"{out.getvalue()}\nCOMP_WORDS=({asked}) COMP_CWORD={len(words) - 1}\n"
        script += "_event_service " + shlex.quote(str(service)) + '\nprintf "%s\\n" "${COMPREPLY[@]}"'
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()

    assert completed("event-service", "export", "O") == ["Ours"]
    assert completed("event-service", "apply", "") == ["""'Other people'"'"'s'""", "Ours"]
    assert completed("event-service", "listen", "") == [str(web_socket.pk)]
    assert completed("event-service", "exp") == ["1", "event-service", "exp"]
