"""What operators do in the admin, put down to them."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from endpoints.audit import Actor, by

READING = ("GET", "HEAD", "OPTIONS")
View = Callable[..., HttpResponseBase]


class OperatorsActs:
    """Middleware: what an operator sends is one transaction, whose changes have their name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, view: View, args: Any, kwargs: Any) -> HttpResponseBase | None:
        if request.method in READING or not _is_operators(request) or not request.user.is_authenticated:
            return None
        with by(_actor(request)):
            return view(request, *args, **kwargs)


def _is_operators(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and (match.app_name == "admin" or match.url_name == "live-ticket")


def _actor(request: HttpRequest) -> Actor:
    match = request.resolver_match
    assert match is not None
    operation = ".".join(filter(None, [match.app_name, match.url_name, request.POST.get("action", "")]))
    address = request.META.get("REMOTE_ADDR", "")
    return Actor("USER", str(request.user.pk), request.user.get_username(), operation, address)
