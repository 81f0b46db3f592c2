"""A filter's form tries what stands in it on the events that are stored."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from endpoints.errors import BadInput
from endpoints.patterns import parse_definition
from routing.backtests import Backtest, backtest

LONGEST_HOURS = 24 * 365


@require_POST
def try_filter(request: HttpRequest) -> HttpResponse:
    """Answer with a page that says what the form's definition would have matched, or what is wrong with it."""
    if not request.user.has_perms(("endpoints.view_eventfilter", "routing.view_event")):
        raise PermissionDenied
    found: dict[str, Any] = {}
    try:
        found["found"] = _tried(request.POST)
    except BadInput as refusal:
        found["problem"] = refusal.message
    return render(request, "routing/tried.html", {**admin.site.each_context(request), **found})


def _tried(form: Any) -> Backtest:
    try:
        wanted = parse_definition(json.loads(form.get("definition", "")))
    except (ValueError, RecursionError) as error:
        raise BadInput(_("The definition is not JSON: %(error)s.") % {"error": error}, "definition") from None
    return backtest(wanted, workspace_id=_workspace_id(form), since=timezone.now() - _hours(form))


def _workspace_id(form: Any) -> UUID:
    given = form.get("try_workspace") or form.get("workspace", "")
    try:
        return UUID(given)
    except ValueError:
        raise BadInput(_("Choose a workspace: %(given)s is none.") % {"given": f"{given!r:.60}"}, "workspace") from None


def _hours(form: Any) -> timedelta:
    given = form.get("try_hours", "")
    if not (given.isdecimal() and 1 <= int(given[:9]) <= LONGEST_HOURS):
        said = _("%(given)s is no number of hours; give 1 to %(most)s.")
        raise BadInput(said % {"given": f"{given!r:.60}", "most": LONGEST_HOURS}, "try_hours")
    return timedelta(hours=int(given[:9]))
