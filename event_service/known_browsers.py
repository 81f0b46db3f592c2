"""Browsers that somebody has signed in with before: guessing their name elsewhere does not lock them out.

A name is locked for all addresses together, or whoever has many of them may guess as often. So that a stranger can't
lock an operator out, a signed cookie tells browsers from each other in which the name's owner has been
(https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies).
"""

from datetime import timedelta
from typing import Any

from axes.helpers import get_client_username
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac

COOKIE = "known_browser"
_LIFE = timedelta(days=180)


def remember(answer: HttpResponse, name: str) -> None:
    """Have the browser that gets `answer` say from now on that `name` has signed in with it."""
    answer.set_signed_cookie(
        COOKIE,
        _mark(name),
        salt=COOKIE,
        max_age=_LIFE,
        path="/admin/",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def lockout_parameters(request: Any, credentials: Any = None) -> list[list[str]]:
    """Return by what failures to sign in are counted: AXES_LOCKOUT_PARAMETERS."""
    by_address = ["username", "ip_address"]
    return [by_address] if _is_known(request, credentials) else [by_address, ["username"]]


def _is_known(request: Any, credentials: Any) -> bool:
    if not isinstance(request, HttpRequest):  # axes asks about its own rows, too
        return False
    mark = request.get_signed_cookie(COOKIE, default=None, salt=COOKIE, max_age=_LIFE)
    name = get_client_username(request, credentials)
    return mark is not None and name is not None and mark == _mark(name)


def _mark(name: str) -> str:
    """Return what stands for a name: names have letters that no header may have."""
    return salted_hmac(COOKIE, name).hexdigest()
