"""What is used of limits and quotas, for operators: to look at, not to change."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from endpoints.models import Spending
from routing.admin.traffic import TrafficAdmin
from routing.models import DailyEvents


@admin.register(Spending)
class SpendingAdmin(TrafficAdmin):
    list_display = ("subject", "changed_at")
    fields = ("subject", "slots", "changed_at")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Find who is looked for: "key ID", "workspace ID" or "address IP"."""
        return queryset.filter(pk=search_term.strip()) if search_term else queryset, False


@admin.register(DailyEvents)
class DailyEventsAdmin(TrafficAdmin):
    list_display = ("workspace", "day", "events")
    list_select_related = ("workspace",)
    ids = ("workspace_id",)
    fields = ("workspace", "day", "events")

    def title_of(self, row: DailyEvents) -> str:
        return f"{row.workspace}, {row.day}"
