"""Sending through the door in tests."""

import socket
from uuid import UUID

import pytest

from routing.egress import EgressError

WORKSPACE = UUID(int=1)
DEADLINE_S = 5


def send(door, url, method="POST", body=b"{}", workspace_id=WORKSPACE, deadline_s=DEADLINE_S):
    return door.send(method, url, {}, body, workspace_id=workspace_id, deadline_s=deadline_s)


def refusal(door, url):
    with pytest.raises(EgressError) as refused:
        send(door, url)
    return refused.value.code


def resolver(monkeypatch, *answers):
    """Answer questions for .example with `answers`, one after the other, and return what was asked."""
    asked = []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **options):
        if not host.endswith(".example"):
            return real(host, port, *args, **options)
        asked.append(host)
        if not answers[len(asked) - 1]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in answers[len(asked) - 1]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked
