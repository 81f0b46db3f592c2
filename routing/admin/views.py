"""Searches that are saved under a name, and forgotten again."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from routing.models import SavedView
from routing.models.views import QUERY_LENGTH

LISTS = ("delivery", "event")
LONGEST_NAME = 100


@require_POST
def save_view(request: Any, model: str) -> HttpResponseBase:
    """Keep the query under a name, in place of the user's own one of that name."""
    address = _address(request, model)
    name, query = request.POST.get("name", "").strip()[:LONGEST_NAME], request.POST.get("query", "")
    if not name or "\0" in name + query or len(query) > QUERY_LENGTH:
        messages.error(request, _("Give the view a name."))
        return redirect(address)
    SavedView.objects.update_or_create(
        user=request.user, model=model, name=name, defaults={"query": query, "shared": "shared" in request.POST}
    )
    messages.success(request, _("Saved: %(name)s.") % {"name": name})
    return redirect(f"{address}?{query}")


@require_POST
def forget_view(request: Any, model: str, view_id: UUID) -> HttpResponseBase:
    address = _address(request, model)
    get_object_or_404(SavedView, pk=view_id, model=model, user=request.user).delete()
    return redirect(address)


def _address(request: HttpRequest, model: str) -> str:
    if model not in LISTS:
        raise Http404(f"{model!r:.40} has no views.")
    if not request.user.has_perm(f"routing.view_{model}"):
        raise PermissionDenied
    return reverse(f"admin:routing_{model}_changelist")


@admin.register(SavedView)
class SavedViewAdmin(admin.ModelAdmin):
    """For who tidies up: views are made in the lists they belong to."""

    list_display = ("name", "model", "user", "shared", "creation_date")
    list_select_related = ("user",)
    readonly_fields = fields = ("name", "model", "user", "query", "shared", "creation_date")
    ordering = ("name", "pk")
    come_by = gettext_lazy("A search for deliveries or events is saved above what it finds.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
