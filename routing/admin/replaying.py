"""Replays, for operators: started with a preview, watched as they go on, and stopped."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from endpoints.errors import ServiceError
from endpoints.models import Endpoint
from routing import replays
from routing.console.searches import Since
from routing.models import Delivery, Replay
from routing.replays import MAX_PER_SECOND, PER_SECOND, Selection
from routing.walks import GLANCED

NEEDED = ("routing.view_replay", "endpoints.view_endpoint")
ENDED = [each for each in Delivery.State.choices if each[0] not in Delivery.OPEN]


class ReplayForm(forms.Form):
    states = forms.MultipleChoiceField(
        label=gettext_lazy("Deliveries that are"), choices=ENDED, widget=forms.CheckboxSelectMultiple
    )
    since = forms.DateTimeField(label=gettext_lazy("From (UTC)"), required=False, widget=Since)
    until = forms.DateTimeField(label=gettext_lazy("To (UTC)"), required=False, widget=Since)
    to = forms.UUIDField(label=gettext_lazy("To another endpoint (its id)"), required=False)
    per_second = forms.IntegerField(
        label=gettext_lazy("A second, at most"), min_value=1, max_value=MAX_PER_SECOND, initial=PER_SECOND
    )

    def selection(self, endpoint: Endpoint) -> Selection:
        found = self.cleaned_data
        return Selection(endpoint, found["states"], since=found["since"], until=found["until"])


@require_http_methods(["GET", "POST"])
def new_replay(request: HttpRequest, endpoint_id: UUID) -> HttpResponseBase:
    """Say how many deliveries the form selects; posted with `start`, have them again."""
    if not request.user.has_perms(("routing.add_replay", *NEEDED)):
        raise PermissionDenied
    endpoint = get_object_or_404(Endpoint.objects.live(), pk=endpoint_id)
    form = ReplayForm(request.POST) if request.method == "POST" else ReplayForm(initial=_initial(request))
    found: dict[str, Any] = {"endpoint": endpoint, "form": form, "title": _("Replay")}
    if request.method == "POST" and form.is_valid():
        try:
            to = _target(form.cleaned_data["to"], endpoint)
            if "start" in request.POST:
                selection, pace = form.selection(endpoint), form.cleaned_data["per_second"]
                started = replays.create(selection, to_endpoint=to, per_second=pace, looks=GLANCED)
                return redirect("replay", started.pk)
            found["count"] = replays.preview(form.selection(endpoint), to_endpoint=to, looks=GLANCED)
        except ServiceError as refusal:
            form.add_error(None, refusal.message)
    return render(request, "routing/new_replay.html", {**admin.site.each_context(request), **found})


@require_GET
def replay_page(request: HttpRequest, replay_id: UUID) -> HttpResponse:
    if not request.user.has_perms(NEEDED):
        raise PermissionDenied
    replay = get_object_or_404(Replay.objects.select_related("endpoint", "to_endpoint"), pk=replay_id)
    found = {"replay": replay, "title": _("Replay"), "left": _left(replay), "most": replay.total or 0}
    return render(request, "routing/replay.html", {**admin.site.each_context(request), **found})


@require_POST
def stop_replay(request: HttpRequest, replay_id: UUID) -> HttpResponseBase:
    if not request.user.has_perms(("routing.cancel_replay", *NEEDED)):
        raise PermissionDenied
    get_object_or_404(Replay, pk=replay_id).cancel()
    return redirect("replay", replay_id)


def _initial(request: HttpRequest) -> dict[str, Any]:
    state = request.GET.get("state", "")
    states = [state] if state in dict(ENDED) else ["EXHAUSTED"]
    return {"states": states, "since": request.GET.get("since"), "until": request.GET.get("until")}


def _target(id_: UUID | None, endpoint: Endpoint) -> Endpoint | None:
    if id_ is None:
        return None
    return get_object_or_404(Endpoint.objects.live(), pk=id_, workspace=endpoint.workspace_id)


def _left(replay: Replay) -> timedelta | None:
    """Return how long it takes at the pace that it has had."""
    took = (timezone.now() - replay.creation_date).total_seconds()
    if replay.state != Replay.State.RUNNING or not replay.total or not replay.done:
        return None
    return timedelta(seconds=took / replay.done * max(0, replay.total - replay.done))
