"""The portal's door: a link becomes a cookie, and a cookie a transaction in which PostgreSQL shows one workspace.

The link is looked up anew for each page, so what is revoked is out with the next one. Whatever is wrong with a link or
a cookie has one answer.
"""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from endpoints.audit import Actor
from endpoints.errors import NotFound, ServiceError
from endpoints.models import Endpoint, PortalLink, PortalRight
from endpoints.rates import TooMany, rates
from endpoints.tenancy import within
from routing.models import Delivery

PATH = "/event-service/portal/"
COOKIE = "__Secure-event-service-portal" if settings.HTTPS else "event-service-portal"
VISIT_S = 12 * 3600  # after which the link is opened again
STATUSES = {"NOT_FOUND": 404, "LIMITED": 429, "UNAVAILABLE": 503}
_signer = signing.TimestampSigner(salt="routing.portal")


@dataclass(frozen=True)
class Visit:
    """Somebody who has opened a link."""

    link: PortalLink
    address: str

    @property
    def rights(self) -> Collection[str]:
        return self.link.rights

    def transaction(self, operation: str) -> AbstractContextManager[None]:
        actor = Actor("PORTAL", str(self.link.pk), self.link.name, operation, self.address)
        return within(self.link.workspace_id, actor.setting())

    def endpoints(self) -> QuerySet[Endpoint]:
        """This line and the next are the portal's tenancy, before that of the database: whose rows there are."""
        return self._own(Endpoint.objects.live(), "pk")

    def deliveries(self) -> QuerySet[Delivery]:
        return self._own(Delivery.objects.all(), "endpoint")

    def _own(self, rows: QuerySet[Any], endpoint: str) -> QuerySet[Any]:
        rows = rows.filter(workspace=self.link.workspace_id)
        return rows if self.link.endpoint_id is None else rows.filter(**{endpoint: self.link.endpoint_id})


View = Callable[..., HttpResponse]


def page(
    *methods: str, right: PortalRight = PortalRight.VIEW, cost: int = 0, by_itself: bool = False
) -> Callable[[View], View]:
    """Return a decorator of views that are for visitors with `right`: each is one transaction, put down to the link.

    One that is `by_itself` waits for others, and begins its transactions itself. `cost` is in units, besides the page.
    """

    def decorate(view: View) -> View:
        @never_cache
        def answer(request: HttpRequest, **named: Any) -> HttpResponse:
            if request.method not in methods:
                return HttpResponseNotAllowed(methods)
            visit = _visit(request)
            if visit is None:
                return _closed(request)
            try:
                rates.charge(rates.of_link(visit.link.pk), 1 + cost)
                if right not in visit.rights:
                    raise Http404
                with nullcontext() if by_itself else visit.transaction(_operation(request)):
                    return view(request, visit, **named)
            except Http404:
                return shown(request, visit, "absent", status=404)
            except ServiceError as refusal:
                return _refused(request, visit, refusal)

        return update_wrapper(answer, view)

    return decorate


def shown(
    request: HttpRequest, visit: Visit, template: str, found: dict[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    return render(request, f"portal/{template}.html", {"visit": visit, **(found or {})}, status=status)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def open_link(request: HttpRequest) -> HttpResponse:
    """Exchange the token, which goes no further than this address, for a cookie.

    A button comes first: programs that look at links in messages would use up one that opens once, and another site
    could put its own link in the place of a visitor's.
    """
    token = (request.POST if request.method == "POST" else request.GET).get("token", "")
    link = PortalLink.named(token)
    if link is None or (request.method == "POST" and not _open(link, _address(request))):
        rates.charge_wrong_key(_address(request))
        return _closed(request)
    if request.method != "POST":
        return render(request, "portal/open.html", {"link": link, "token": token})
    answer = redirect("portal")
    left_s = int((link.expires_at - timezone.now()).total_seconds())
    answer.set_cookie(
        COOKIE,
        _signer.sign(str(link.pk)),
        max_age=max(1, min(VISIT_S, left_s)),
        path=PATH,
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",  # a Strict one would be left out where a page of somebody else's has led here
    )
    return answer


@never_cache
@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    answer = _closed(request, left=True)
    answer.delete_cookie(COOKIE, path=PATH)
    return answer


def _open(link: PortalLink, address: str) -> bool:
    with Visit(link, address).transaction("portal-open"):
        return link.open()


def _visit(request: HttpRequest) -> Visit | None:
    try:
        link_id = UUID(_signer.unsign(request.COOKIES.get(COOKIE, ""), max_age=VISIT_S))
    except (signing.BadSignature, ValueError):
        return None
    links = PortalLink.objects.usable().select_related("endpoint", "workspace__portal_theme")
    link = links.defer("workspace__portal_theme__logo").filter(pk=link_id).first()
    return None if link is None else Visit(link, _address(request))


def _closed(request: HttpRequest, *, left: bool = False) -> HttpResponse:
    return render(request, "portal/closed.html", {"left": left}, status=200 if left else 403)


def _refused(request: HttpRequest, visit: Visit, refusal: ServiceError) -> HttpResponse:
    if isinstance(refusal, NotFound):
        return shown(request, visit, "absent", status=404)
    answer = shown(request, visit, "refused", {"problem": refusal.message}, STATUSES.get(refusal.code, 409))
    if isinstance(refusal, TooMany):
        answer["Retry-After"] = f"{refusal.retry_after_s}"
    return answer


def _operation(request: HttpRequest) -> str:
    match = request.resolver_match
    assert match is not None
    return str(match.url_name)


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))
