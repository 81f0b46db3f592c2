from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from event_service_client.django.models import OutboxEvent, State


@admin.register(OutboxEvent)
class OutboxEventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in Django's stubs alone
    """To look at what waits and what was set aside; to send that again, or to delete it."""

    list_display = ["id", "type", "subject", "ordering_key", "state", "refusals", "problem", "due_at", "date"]
    list_filter = ["state", "type"]
    search_fields = ["event_id", "subject", "ordering_key"]
    ordering = ["-id"]
    actions = ["send_again"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: OutboxEvent | None = None) -> bool:
        return False

    def has_send_again_permission(self, request: HttpRequest) -> bool:
        return super().has_change_permission(request)

    @admin.action(description="Send again what was set aside", permissions=["send_again"])
    def send_again(self, request: HttpRequest, rows: QuerySet[OutboxEvent]) -> None:
        again = rows.filter(state=State.SET_ASIDE)
        count = again.update(state=State.WAITING, refusals=0, due_at=timezone.now())
        self.message_user(request, f"{count} will be sent again.")
