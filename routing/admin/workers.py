"""The processes that deliver. What they are to do is said on the page of the queue."""

from django.contrib import admin

from routing.admin.traffic import TrafficAdmin
from routing.models import WorkerNode


@admin.register(WorkerNode)
class WorkerNodeAdmin(TrafficAdmin):
    list_display = ("name", "version", "started_at", "seen_at", "held", "drained")
    fields = ("id", *list_display, "slow", "oldest_claim_at")
