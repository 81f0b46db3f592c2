"""A page for operators: an endpoint's events as they come, and what becomes of them. It delivers nothing."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from endpoints.models import Endpoint
from routing.models import Delivery
from routing.sockets import tickets
from routing.sockets.operators import PERMISSION

AT_ONCE = 500  # endpoints to choose from; another one is opened by its id: ?endpoint=ID


@never_cache
@require_GET
def live(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    if not _may_look(request):
        return HttpResponseForbidden(_refused(), content_type="text/plain")
    chosen = _endpoint(request.GET.get("endpoint", ""))
    found: dict[str, Any] = {"title": _("Live"), "endpoints": _endpoints(chosen), "chosen": chosen, "most": AT_ONCE}
    field: Any = Delivery._meta.get_field("state")
    found["states"] = field.flatchoices
    return render(request, "routing/live.html", {**admin.site.each_context(request), **found})


@never_cache
@require_POST
def live_ticket(request: HttpRequest) -> HttpResponse:
    """Make a ticket, which the page opens a websocket with."""
    if not _may_look(request):
        return JsonResponse({"error": {"code": "FORBIDDEN", "message": _refused()}}, status=403)
    given = request.POST.get("endpoint", "")
    endpoint = _endpoint(given)
    if endpoint is None:
        message = f"endpoint {given!r:.60} names no endpoint."
        return JsonResponse({"error": {"code": "NOT_FOUND", "message": message}}, status=404)
    ticket, expires_at = tickets.issue(endpoint=endpoint, user_id=request.user.pk)
    return JsonResponse({"ticket": ticket, "expiresAt": expires_at})


def _refused() -> str:
    return _("Only members of staff with the permission %(permission)s may look at events.") % {
        "permission": PERMISSION
    }


def _may_look(request: HttpRequest) -> bool:
    return admin.site.has_permission(request) and request.user.has_perm(PERMISSION)


def _endpoint(id_: str) -> Endpoint | None:
    try:
        return _live().filter(pk=id_).first()
    except ValidationError:  # no UUID
        return None


def _endpoints(chosen: Endpoint | None) -> list[Endpoint]:
    newest = list(_live().order_by("-creation_date", "pk")[:AT_ONCE])
    listed = {endpoint.pk: endpoint for endpoint in [*newest, *([chosen] if chosen else [])]}
    return sorted(listed.values(), key=lambda endpoint: (endpoint.workspace.name, endpoint.name, endpoint.pk))


def _live() -> QuerySet[Endpoint]:
    return Endpoint.objects.live().select_related("workspace")
