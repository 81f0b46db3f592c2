"""What operators look for among deliveries and events: a form, and the walk that finds it.

Each is a walk along an index. What no index has is looked for in so many rows of it at a time.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.db.models import CharField, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Cast, Coalesce
from django.db.models.lookups import Exact, GreaterThan, IContains, StartsWith
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from endpoints.models import Endpoint, StaffBinding, Workspace
from routing.console.walks import Walk, along_endpoint, between
from routing.models import Attempt, Delivery, Event, IdempotencyRecord
from routing.submissions import TEXT_LENGTH

OWN, OTHERS, TEXTS = 20_000, 5_000, 1_000  # rows in a look: by their own columns, by other tables', by what was sent
CHOICES = 200  # workspaces to choose from; another one is opened by its id
NAMED = 20  # endpoints whose names have what is looked for
WITHIN = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}


class Since(forms.DateTimeInput):
    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__({"step": "1"}, format="%Y-%m-%dT%H:%M:%S")


class Search(forms.Form):
    """Looks for what a query string asks for. Who may look at all is the page's affair."""

    q = forms.CharField(label=gettext_lazy("Id"), required=False, max_length=300)
    workspace = forms.UUIDField(label=gettext_lazy("Workspace"), required=False)
    type = forms.CharField(label=gettext_lazy("Event type"), required=False, max_length=TEXT_LENGTH)
    within = forms.ChoiceField(
        label=gettext_lazy("Time"),
        required=False,
        choices=[
            ("", gettext_lazy("any")),
            ("1h", gettext_lazy("last hour")),
            ("24h", gettext_lazy("last 24 hours")),
            ("7d", gettext_lazy("last 7 days")),
            ("30d", gettext_lazy("last 30 days")),
        ],
    )
    since = forms.DateTimeField(label=gettext_lazy("From (UTC)"), required=False, widget=Since)
    until = forms.DateTimeField(label=gettext_lazy("To (UTC)"), required=False, widget=Since)
    text = forms.CharField(label=gettext_lazy("Text in the data"), required=False, max_length=TEXT_LENGTH)

    def __init__(self, asked: Any, user: Any) -> None:
        super().__init__(asked, label_suffix="")
        self.bounds = StaffBinding.workspaces_of(user)
        rows = Workspace.objects.order_by("name", "pk")
        self.choices = list((rows if self.bounds is None else rows.filter(pk__in=self.bounds))[:CHOICES])
        named = [(each.pk, each.name) for each in self.choices]
        every = [("", _("All workspaces"))] if self.bounds is None else []
        self.fields["workspace"].widget = forms.Select(choices=[*every, *named])
        self.chosen: Endpoint | None = None

    def clean_workspace(self) -> UUID | None:
        """Who is bound looks into one workspace at a time: only that is a walk along an index."""
        given: UUID | None = self.cleaned_data["workspace"]
        if self.bounds is None or given in self.bounds:
            return given
        return self.choices[0].pk if self.choices else UUID(int=0)

    def clean(self) -> dict[str, Any]:
        found = self.cleaned_data
        since, until = found.get("since"), found.get("until")
        if since and until and since >= until:
            self.add_error("until", _("This is not after the beginning."))
        return found

    @property
    def asks(self) -> bool:
        """Whether anything at all is asked for."""
        return any(self.cleaned_data.get(name) for name in self.fields if name != "workspace" or self.bounds is None)

    def times(self) -> tuple[datetime | None, datetime | None]:
        since = self.cleaned_data["since"]
        within = WITHIN.get(self.cleaned_data["within"])
        if since is None and within is not None:
            since = timezone.now() - within
        return since, self.cleaned_data["until"]

    def _whose(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        workspace_id = self.cleaned_data["workspace"]
        return between(rows if workspace_id is None else rows.filter(workspace=workspace_id), *self.times())

    def _by_producers_id(self, text: str) -> list[UUID]:
        workspace_id = self.cleaned_data["workspace"]
        ids = [each.pk for each in self.choices] if workspace_id is None else [workspace_id]
        rows = IdempotencyRecord.objects.filter(workspace__in=ids, key=text)
        return list(rows.values_list("event_id", flat=True)[:NAMED])


class EventSearch(Search):
    def walk(self) -> Walk:
        rows = self._whose(Event.objects.defer("data").select_related("workspace"))
        wanted, text = Q(), self.cleaned_data["text"]
        if given := self.cleaned_data["q"]:
            rows = rows.filter(pk__in=self._ids(given))
        if type := self.cleaned_data["type"]:
            wanted &= is_type(F("type"), type)
        if text:
            wanted &= has_text(F("data"), text)
        return Walk(rows, TEXTS if text else OWN, wanted)

    def _ids(self, given: str) -> Sequence[UUID]:
        id_ = read_id(given)
        if id_ is None:
            return self._by_producers_id(given)
        return [id_, *Delivery.objects.filter(pk=id_).values_list("event_id", flat=True)]


class DeliverySearch(Search):
    endpoint = forms.CharField(label=gettext_lazy("Endpoint"), required=False, max_length=200)
    state = forms.ChoiceField(
        label=gettext_lazy("State"),
        required=False,
        choices=[("", gettext_lazy("any")), ("OPEN", gettext_lazy("Open")), *Delivery.State.choices],
    )
    reason = forms.CharField(label=gettext_lazy("Reason"), required=False, max_length=200)
    status = forms.RegexField(
        r"^[1-5](\d\d|xx)$",
        label=gettext_lazy("Status code"),
        required=False,
        error_messages={"invalid": gettext_lazy("Write a status code, such as 503, or 5xx.")},
    )
    error = forms.CharField(label=gettext_lazy("An attempt failed with"), required=False, max_length=40)
    field_order = (
        "q",
        "endpoint",
        "state",
        "reason",
        "status",
        "error",
        "type",
        "within",
        "since",
        "until",
        "text",
        "workspace",
    )

    def __init__(self, asked: Any, user: Any) -> None:
        super().__init__(asked, user)
        if not user.has_perm("routing.view_attempt"):
            del self.fields["status"], self.fields["error"]
        if not user.has_perm("routing.view_event"):
            del self.fields["text"], self.fields["type"]

    def clean_endpoint(self) -> list[Endpoint]:
        given, id_ = self.cleaned_data["endpoint"], read_id(self.cleaned_data["endpoint"])
        if not given:
            return []
        named = Q(name__icontains=given) if id_ is None else Q(pk=id_)
        found = list(Endpoint.objects.filter(named).order_by("name", "pk")[: NAMED + 1])
        if len(found) > NAMED:
            said = _("More than %(number)s endpoints have this in their name.")
            raise forms.ValidationError(said % {"number": NAMED})
        if not found:
            raise forms.ValidationError(_("No endpoint has this id, or this in its name."))
        return found

    def clean(self) -> dict[str, Any]:
        found = super().clean()
        chosen = found.get("endpoint") or []
        id_ = read_id(found.get("q") or "")
        if id_ and not chosen and (named := list(Endpoint.objects.filter(pk=id_))):
            chosen, found["q"] = named, ""
        self.chosen = chosen[0] if len(chosen) == 1 else None
        if self.chosen and not self.data.get("workspace"):
            found["workspace"] = self.chosen.workspace_id
        return {**found, "endpoint": chosen}

    def walk(self) -> Walk:
        found, wanted = self.cleaned_data, Q()
        for condition in (self._state(), self._reason(), self._tried(), self._event()):
            wanted &= condition
        examines = TEXTS if found.get("text") else OTHERS if any(map(found.get, ("type", "status", "error"))) else OWN
        if self.chosen and not found["q"] and found["workspace"] == self.chosen.workspace_id:
            return Walk(_shown(along_endpoint(self.chosen.pk, *self.times())), examines, wanted, "seq")
        if found["endpoint"]:
            wanted &= Q(endpoint__in=found["endpoint"])
        rows = Delivery.objects.filter(self._named(found["q"])) if found["q"] else Delivery.objects.all()
        return Walk(_shown(self._whose(rows)), examines, wanted)

    def _named(self, given: str) -> Q:
        id_ = read_id(given)
        return Q(event__in=self._by_producers_id(given)) if id_ is None else Q(pk=id_) | Q(event=id_)

    def _state(self) -> Q:
        state = self.cleaned_data["state"]
        return Q(state__in=Delivery.OPEN) if state == "OPEN" else Q(state=state) if state else Q()

    def _reason(self) -> Q:
        reason = self.cleaned_data["reason"]
        return Q(reason=reason) if reason else Q()

    def _tried(self) -> Q:
        """Return the condition that an attempt had this answer, and failed so."""
        status, error = (self.cleaned_data.get(name) for name in ("status", "error"))
        if not status and not error:
            return Q()
        attempts = Attempt.objects.filter(delivery=OuterRef("pk"))
        if status:
            attempts = attempts.filter(status_code__range=[int(status.replace("x", digit)) for digit in "09"])
        if error:
            attempts = attempts.filter(error=error)
        return Q(GreaterThan(Subquery(attempts.values("number")[:1]), 0))

    def _event(self) -> Q:
        type, text = (self.cleaned_data.get(name) for name in ("type", "text"))
        wanted = Q()
        if type:
            wanted &= is_type(of_event("type"), type)
        return wanted & has_text(of_event("data"), text) if text else wanted


def read_id(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def is_type(column: Any, type: str) -> Q:
    """Compare with a type, or with all that begin as it does: order.*"""
    if type.endswith("*"):
        return Q(StartsWith(column, type.rstrip("*")))
    return Q(Exact(column, type))


def has_text(column: Any, text: str) -> Q:
    """Look for a text as it is, and as JSON writes it."""
    wanted = Q()
    for spelling in {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}:
        wanted |= Q(IContains(column, spelling))
    return wanted


def of_event(column: str) -> Subquery:
    """Return what a delivery's event has, as a look at its row for each: a join might scan the table."""
    return Subquery(Event.objects.filter(pk=OuterRef("event")).values(column)[:1])


def of_endpoint(endpoint: Endpoint) -> QuerySet[Delivery]:
    """Return an endpoint's deliveries as they are listed, the newest first."""
    return _shown(Delivery.objects.filter(endpoint=endpoint)).order_by("-seq")


def _shown(rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
    answer = Coalesce(Cast("status_code", CharField()), "error")  # what it was, or why there was none
    last = Attempt.objects.filter(delivery=OuterRef("pk")).order_by("-number").values_list(answer)[:1]
    return rows.select_related("endpoint").annotate(event_type=of_event("type"), last_answer=Subquery(last))
