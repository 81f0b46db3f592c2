"""A filter's page while one writes: what is known to complete with, what is wrong, and what matches just now."""

import re
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import Http404, HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from endpoints.errors import BadInput
from endpoints.inferring import infer
from endpoints.models import EventType, StaffBinding, Workspace
from endpoints.patterns import FIELDS, check_definition, explain
from endpoints.patterns.conditions import OPERATORS
from routing.models import Event

NEEDED = ("endpoints.view_eventfilter",)
SEES_EVENTS = "routing.view_event"
BUDGET_S = 1.0
RECENT = 20  # events that are tried while one writes
LARGEST = 64 * 1024  # characters of data of an event that is tried so; of others only what is beside it
MOST_TYPES = 300
MOST_PATHS = 500
MOST_CHARACTERS = 256 * 1024
_AT_BYTE = re.compile(r"\(byte ([0-9]+)\)\.$")  # as a refusal of what is no JSON ends


@require_GET
def known(request: HttpRequest) -> JsonResponse:
    """Return the workspace's types of events, and where their data has values, as far as the bounds go."""
    workspace = _workspace(request, request.GET.get("workspace", ""))
    rows = EventType.objects.filter(workspace=workspace).order_by(F("last_seen_at").desc(nulls_last=True), "name")
    types = list(rows.values_list("name", "inferred_shape")[:MOST_TYPES])
    sees_events = request.user.has_perm(SEES_EVENTS)
    events = _recent(workspace) if sees_events else []
    names = dict.fromkeys([name for name, _shape in types] + [event.type for event in events])
    shapes = [shape for _name, shape in types if sees_events] + [infer(event.fields().get("data")) for event in events]
    paths = (path for shape in shapes for path in _paths(shape, ("data",)))
    found = dict.fromkeys([*FIELDS, *islice(dict.fromkeys(paths), MOST_PATHS)])
    return JsonResponse({"types": list(names), "paths": list(found), "operators": list(OPERATORS)})


def _paths(shape: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Give the path of each value; arrays are gone through, as they are in patterns."""
    if isinstance(shape, list):
        for each in shape:
            yield from _paths(each, path)
    elif isinstance(shape, dict):
        for name, inner in shape.items():
            yield from _paths(inner, (*path, name))
    elif shape is not None:
        yield ".".join(path)


@require_POST
def check(request: HttpRequest) -> JsonResponse:
    """Say what is wrong with a definition and where, or which of the last events it matches and why the others not."""
    workspace = _workspace(request, request.POST.get("workspace", ""), optional=True)
    text = request.POST.get("definition", "")
    try:
        definition = _read(text)
        check_definition(definition)
    except BadInput as refusal:
        return JsonResponse({"problem": refusal.message, "at": _place(text, refusal)})
    events = _recent(workspace) if workspace and request.user.has_perm(SEES_EVENTS) else []
    return JsonResponse({"problem": "", "tried": list(_all_tried(definition, events))})


def _all_tried(definition: Any, events: list[Event]) -> Iterator[dict[str, Any]]:
    """Try the events, the newest first, for as long as somebody who writes waits for."""
    ends_at = time.monotonic() + BUDGET_S
    for event in events:
        yield _tried(definition, event)
        if time.monotonic() > ends_at:
            return


def _read(text: str) -> Any:
    if len(text) > MOST_CHARACTERS:
        raise BadInput(_("The definition is too long."), "definition")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInput(_("This is not JSON: %(error)s.") % {"error": error}, "definition") from None


def _place(text: str, refusal: BadInput) -> int | None:
    """Return behind which character it stands, as far as that can be told: where the last name of its path is."""
    if at_byte := _AT_BYTE.search(refusal.message):
        return len(text.encode()[: int(at_byte[1])].decode(errors="ignore"))
    at = 0
    for name in (refusal.field or "").split("."):
        found = text.find(f'"{name.partition("[")[0]}"', at)
        at = found if found >= 0 else at
    return at if refusal.field not in (None, "", "definition") else None


def _tried(definition: Any, event: Event) -> dict[str, Any]:
    explanation = explain(definition, event.fields())
    return {
        "id": str(event.pk),
        "type": event.type,
        "date": event.creation_date.isoformat(),
        "matched": explanation.matched,
        "reason": explanation.reason,
    }


def _recent(workspace: Workspace) -> list[Event]:
    rows = Event.objects.filter(workspace=workspace).order_by("-pk")[:RECENT]
    return [event for event in rows if len(event.data) <= LARGEST and not event.payload_forgotten_at]


def _workspace(request: HttpRequest, id_: str, *, optional: bool = False) -> Any:
    """Return the workspace that is asked for; None where none is and none has to be. Raises Http404."""
    if not request.user.has_perms(NEEDED):
        raise PermissionDenied
    bound = StaffBinding.workspaces_of(request.user)
    rows = Workspace.objects.all() if bound is None else Workspace.objects.filter(pk__in=bound)
    try:
        workspace_id = UUID(id_)
    except ValueError:
        if optional:
            return None
        raise Http404(f"workspace {id_!r:.60} is no UUID.") from None
    return get_object_or_404(rows, pk=workspace_id)
