"""The traffic, for operators: to look at, not to change. These tables are big, so no page counts or scans them."""

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, ngettext

from endpoints.admin.configuration import Titled, needs
from endpoints.errors import Conflict
from endpoints.models.staff import SEE_ALL
from routing.admin.bulk import left_open, let_go
from routing.admin.finding import Finding
from routing.admin.whys import MOST, NEEDED, destinations
from routing.cancelling import cancel
from routing.console.queue import RELEASE
from routing.console.searches import DeliverySearch, EventSearch
from routing.expediting import expedite
from routing.models import (
    Attempt,
    Count,
    Cursor,
    Delivery,
    Event,
    Forgotten,
    IdempotencyRecord,
    Lane,
    Replay,
    Rollup,
    TypeTally,
)
from routing.repeats import retry

AT_ONCE = 1_000  # rows that an action takes: "all" may be millions


class BoundedPaginator(Paginator):
    """Pages over the first rows of a list: who looks for more searches by an id."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        found: int = rows.order_by()[: self.MOST].count()
        return found


class TrafficAdmin(Titled):
    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    ordering = ("-pk",)  # newest first, by the primary key
    search_fields: ClassVar[tuple[str, ...]] = ("pk",)  # a box to search in; get_search_results says how
    ids: ClassVar[tuple[str, ...]] = ("pk",)  # what a search looks at, each with an index
    come_by: ClassVar[Any] = gettext_lazy("The service writes these rows by itself, as it works.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def _log(self, request: HttpRequest, rows: Sequence[Any], what: str) -> None:
        for row in rows:
            self.log_change(request, row, what)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Find the rows that have the id which `search_term` is."""
        if not search_term:
            return queryset, False
        try:
            id_ = UUID(search_term.strip())
        except ValueError:
            said = _("%(given)s is not an id; search by a UUID.") % {"given": f"{search_term!r:.100}"}
            self.message_user(request, said, "warning")
            return queryset.none(), False
        return queryset.filter(Q.create([(name, id_) for name in self.ids], connector=Q.OR)), False


class OfEndpoint(TrafficAdmin):
    """Of a table whose rows have no name of their own: they are called as their endpoint is."""

    def title_of(self, row: Any) -> str:
        return str(row.endpoint)


@admin.register(Event)
class EventAdmin(Finding, TrafficAdmin):
    search, found_template = EventSearch, "routing/events.html"
    fields = (
        "id",
        "workspace",
        "type",
        "source",
        "subject",
        "ordering_key",
        "extensions",
        "date",
        "creation_date",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        return super().get_queryset(request).defer("data")  # a list would read megabytes of it

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        if request.user.has_perms(NEEDED):
            context |= {"destinations": destinations(context["original"]), "most": MOST}
        return super().render_change_form(request, context, *args, **kwargs)


@admin.register(Delivery)
class DeliveryAdmin(Finding, TrafficAdmin):
    search, found_template = DeliverySearch, "routing/deliveries.html"
    list_display = ("__str__",)  # Django's own list is made for actions, and not shown
    fields = (
        "id",
        "workspace",
        "event",
        "endpoint",
        "seq",
        "retry_of",
        "state",
        "reason",
        "attempts_made",
        "due_at",
        "creation_date",
        "settled_at",
    )
    actions = ("retry", "expedite", "cancel")
    has_retry_permission = needs("routing.retry_delivery")
    has_cancel_permission = needs("routing.cancel_delivery")

    def title_of(self, row: Delivery) -> str:
        return f"{row.event.type} → {row}"

    @admin.action(description=gettext_lazy("Deliver the selected deliveries again"), permissions=["retry"])
    def retry(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        chosen = _chosen(deliveries)
        try:
            newer = retry(chosen)
        except Conflict as refusal:
            messages.error(request, refusal.message)
            return
        self._log(request, chosen, gettext_noop("Retried."))
        said = ngettext(
            "%(count)s new delivery repeats what was selected.",
            "%(count)s new deliveries repeat what was selected.",
            len(newer),
        )
        messages.success(request, said % {"count": len(newer)})

    @admin.action(description=gettext_lazy("Try the selected deliveries now"), permissions=["retry"])
    def expedite(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        chosen = _chosen(deliveries)
        outcome = expedite(chosen, closing=request.user.has_perm(RELEASE))
        self._log(request, chosen, gettext_noop("Tried at once, if it was waiting for another try."))
        said = ngettext(
            "%(count)s that waited for another try is due now.",
            "%(count)s that waited for another try are due now.",
            outcome.expedited,
        )
        messages.success(request, said % {"count": outcome.expedited})
        if outcome.released:
            messages.success(request, let_go(outcome.released))
        if outcome.left_open:
            messages.warning(request, left_open(outcome.left_open))

    @admin.action(description=gettext_lazy("Cancel the selected deliveries"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        chosen = _chosen(deliveries)
        outcome = cancel(chosen)
        self._log(request, chosen, gettext_noop("Cancelled, if it was waiting."))
        said = _("Cancelled: %(cancelled)s. On their way already: %(sending)s.")
        messages.success(request, said % {"cancelled": outcome.cancelled, "sending": outcome.sending})


def _chosen(deliveries: QuerySet[Delivery]) -> list[Delivery]:
    """Return those that an action takes, with what they are called by: each is logged under its name."""
    return list(deliveries.select_related("endpoint")[:AT_ONCE])


@admin.register(Attempt)
class AttemptAdmin(TrafficAdmin):
    list_display = ("id", "delivery_id", "number", "started_at", "took_ms", "status_code", "error")
    ids = ("pk", "delivery_id")
    fields = (
        "id",
        "workspace",
        "delivery",
        "number",
        "started_at",
        "took_ms",
        "status_code",
        "error",
        "error_detail",
        "cause",
        "response_body",
        "peer",
    )

    def title_of(self, row: Attempt) -> str:
        delivery = Delivery.objects.select_related("endpoint").filter(pk=row.delivery_id).first()
        return _("%(delivery)s, attempt %(number)s") % {"delivery": delivery or row.delivery_id, "number": row.number}

    @admin.display(description=gettext_lazy("duration ms"))
    def took_ms(self, attempt: Attempt) -> str:
        return "-" if attempt.duration_ms is None else f"{attempt.duration_ms:.1f}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        return super().get_queryset(request).defer("response_body")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for name in self.fields if name != "cause" or request.user.has_perm(SEE_ALL)]


@admin.register(Replay)
class ReplayAdmin(OfEndpoint):
    list_display = ("endpoint", "to_endpoint", "state", "reason", "done", "total", "creation_date", "ended_at")
    come_by = gettext_lazy("A replay is started on the page of its endpoint.")
    list_filter = ("state",)
    list_select_related = ("endpoint", "to_endpoint")
    ids = ("pk",)
    fields = (
        "id",
        "workspace",
        "endpoint",
        "to_endpoint",
        "states",
        "never_attempted",
        "since",
        "until",
        "event_filter_id",
        "per_second",
        "state",
        "reason",
        "done",
        "passed_over",
        "total",
        "resume_at",
        "creation_date",
        "ended_at",
    )
    actions = ("cancel",)
    has_cancel_permission = needs("routing.cancel_replay")

    @admin.action(description=gettext_lazy("Cancel the selected replays"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, replays: QuerySet[Replay]) -> None:
        chosen = list(replays[:AT_ONCE])
        for replay in chosen:
            replay.cancel()
        self._log(request, chosen, gettext_noop("Cancelled."))


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(TrafficAdmin):
    list_display = ("key", "workspace", "event_id", "creation_date")
    list_select_related = ("workspace",)
    fields = ("workspace", "key", "event_id", "creation_date")
    search_fields = ()  # no index has the event's id
    ids = ()


@admin.register(TypeTally)
class TypeTallyAdmin(TrafficAdmin):
    list_display = ("type", "workspace", "accepted", "warned", "rejected", "seen_at")
    list_select_related = ("workspace",)
    fields = ("workspace", "type", "accepted", "warned", "rejected", "problem", "event_id", "seen_at")


@admin.register(Count)
class CountAdmin(TrafficAdmin):
    list_display = ("name", "count", "workspace", "endpoint", "at")
    list_select_related = ("workspace", "endpoint")
    fields = ("workspace", "endpoint", "name", "count", "at")
    ids = ("endpoint_id",)


@admin.register(Rollup)
class RollupAdmin(TrafficAdmin):
    list_display = ("name", "count", "period", "at", "workspace", "endpoint")
    list_filter = ("period",)
    list_select_related = ("workspace", "endpoint")
    fields = ("workspace", "endpoint", "period", "at", "name", "count")
    ids = ("endpoint_id",)


@admin.register(Forgotten)
class ForgottenAdmin(OfEndpoint):
    list_display = ("endpoint", "deliveries")
    list_select_related = ("endpoint",)
    fields = ("endpoint", "deliveries")


@admin.register(Cursor)
class CursorAdmin(OfEndpoint):
    list_display = ("endpoint", "last_seq", "epoch", "last_socket_left_at")
    list_select_related = ("endpoint",)
    fields = ("endpoint", "last_seq", "epoch", "last_socket_left_at")


@admin.register(Lane)
class LaneAdmin(OfEndpoint):
    list_display = ("endpoint", "in_flight", "ready_at", "opened_at", "failing_since", "last_failed_at")
    list_select_related = ("endpoint",)
    fields = (
        "endpoint",
        "in_flight",
        "ready_at",
        "paused_until",
        "tokens",
        "window_started_at",
        "window_attempts",
        "window_failures",
        "opened_at",
        "openings",
        "failing_since",
        "last_failed_at",
    )
