"""Pages for people. They run nothing but scripts and styles from our own files, and talk to nobody else."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(request: HttpRequest, template: str, context: dict[str, Any] | None = None) -> HttpResponse:
    answer = render(request, template, context)
    answer["Content-Security-Policy"] = POLICY
    return answer
