"""Which web pages may open websockets. A browser names the page's origin (RFC 6455, 10.2); other clients have none."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from routing.sockets.refusals import NOT_ALLOWED, Refusal


def check_origin(scope: Mapping[str, Any]) -> None:
    """Raise Refusal unless the request comes from no page, or from one of an origin that is allowed, to the letter.

    Where none is listed, these are the pages of the address that the websocket is opened at.
    """
    given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
    if not given:
        return
    allowed = settings.ORIGINS or _own(scope)
    if given[1:] or given[0] not in allowed:
        raise Refusal(
            NOT_ALLOWED, f"Origin {given[0]!r:.60} may not open websockets; EVENT_SERVICE_ORIGINS lists those."
        )


def origin_of(scope: Mapping[str, Any]) -> str:
    """Return where the client reaches us: web pages of ours are there."""
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    return f"{'https' if settings.HTTPS else 'http'}://{host}"


def _own(scope: Mapping[str, Any]) -> list[str]:
    """None for a Host that we are not: a foreign page with a name that leads here would be of our address."""
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    domain, _ = split_domain_port(host)
    known = validate_host(domain, settings.ALLOWED_HOSTS)
    return [f"{scheme}://{host}" for scheme in ("http", "https")] if known else []
