"""What operators do in the admin: put down to them, and shown of no workspaces but theirs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import ProgrammingError
from django.http import HttpRequest, HttpResponseBase
from django.template.response import SimpleTemplateResponse
from psycopg.errors import InsufficientPrivilege

from endpoints.audit import Actor
from endpoints.models import StaffBinding
from endpoints.tenancy import staff, transaction_with

PLACES = ("/admin/", "/event-service/live")
READING = ("GET", "HEAD", "OPTIONS")
# About the user and nobody else; they need the tables of users and sessions.
OWN_AFFAIRS = ("login", "logout", "password_change", "password_change_done")
View = Callable[..., HttpResponseBase]


class OperatorsActs:
    """Middleware: what an operator sends is one transaction, whose changes have their name.

    Who does not see every workspace gets all answers from a transaction in which PostgreSQL shows and takes only their
    own, whatever a page forgets to filter by; what is not of workspaces at all, such as users, is refused.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, view: View, args: Any, kwargs: Any) -> HttpResponseBase | None:
        if not request.path.startswith(PLACES) or not request.user.is_authenticated:
            return None
        settings = _bounds(request)
        if request.method not in READING:
            settings |= _actor(request).setting()
        if getattr(view, "acts_by_itself", False):  # it waits for others, and begins its transactions itself
            request.acting = partial(transaction_with, settings)  # type: ignore[attr-defined]
            return None
        if not settings:
            return None
        with _refusing(), transaction_with(settings):
            return _rendered(view(request, *args, **kwargs))


def _bounds(request: HttpRequest) -> dict[str, str]:
    """Return what keeps a transaction within the workspaces of the user: nothing, for who sees all."""
    match = request.resolver_match
    if match and match.app_name == "admin" and match.url_name in OWN_AFFAIRS:
        return {}
    user: Any = request.user
    workspaces = StaffBinding.workspaces_of(user)
    if workspaces is None:
        return {}
    user.get_all_permissions()  # which it keeps: within the bounds they can't be read
    return staff(user.pk, workspaces)


def _rendered(answer: HttpResponseBase) -> HttpResponseBase:
    """Return it with all that it asks of the database asked: templates do so late."""
    return answer.render() if isinstance(answer, SimpleTemplateResponse) else answer


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except ProgrammingError as error:
        if isinstance(error.__cause__, InsufficientPrivilege):
            raise PermissionDenied from None
        raise


def _actor(request: HttpRequest) -> Actor:
    match = request.resolver_match
    assert match is not None
    operation = ".".join(filter(None, [match.app_name, match.url_name, request.POST.get("action", "")]))
    return Actor("USER", str(request.user.pk), request.user.get_username(), operation, address(request))


def address(request: HttpRequest) -> str:
    """Return whom the server takes the request to be from: of headers only a trusted proxy's count."""
    return str(request.META.get("REMOTE_ADDR", ""))
