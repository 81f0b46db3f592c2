"""What is written by itself and looked at by people: signing keys and the audit log."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from endpoints.models import AuditEntry, SigningKey


class RecordAdmin(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(SigningKey)
class SigningKeyAdmin(RecordAdmin):
    """When keys were made and end. What they are is not shown; rotating is an action of endpoints."""

    list_display = ("id", "endpoint", "scheme", "creation_date", "expires_at")
    list_filter = ("scheme",)
    list_select_related = ("endpoint",)
    fields = ("id", "workspace", "endpoint", "scheme", "creation_date", "expires_at")
    readonly_fields = fields
    search_fields = ("endpoint__name",)
    ordering = ("-creation_date", "-pk")


@admin.register(AuditEntry)
class AuditEntryAdmin(RecordAdmin):
    """Who did what, to look at."""

    list_display = ("at", "actor_kind", "actor_name", "address", "operation", "object_type", "object_id", "workspace")
    list_filter = ("actor_kind",)
    list_select_related = ("workspace",)
    fields = (*list_display, "actor_id", "changes")
    readonly_fields = fields
    search_fields = ("object_id__exact", "actor_id__exact", "operation__exact")
    ordering = ("-at", "-pk")
    show_full_result_count = False
