"""Pages for people. They run nothing but scripts and styles from our own files, and talk to nobody else."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# Of the admin, whose pages are Django's: they have forms, which are sent to ourselves.
POLICY_OF_FORMS = POLICY.replace("form-action 'none'", "form-action 'self'")


class Policies:
    """Middleware: every answer has a policy, its own one or that of the admin's pages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = self._get_response(request)
        answer.headers.setdefault("Content-Security-Policy", POLICY_OF_FORMS)
        return answer


def page(request: HttpRequest, template: str, context: dict[str, Any] | None = None) -> HttpResponse:
    answer = render(request, template, context)
    answer["Content-Security-Policy"] = POLICY
    return answer
