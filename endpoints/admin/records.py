"""What is written by itself and looked at by people: signing keys and the audit log."""

import json
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from endpoints.admin.configuration import Titled
from endpoints.admin.operations import object_name, operation_name
from endpoints.models import AuditEntry, SigningKey


class RecordAdmin(Titled):
    come_by: ClassVar[Any] = ""  # what an empty list says of how its rows come to be

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(SigningKey)
class SigningKeyAdmin(RecordAdmin):
    """When keys were made and end. What they are is not shown; rotating is an action of endpoints."""

    list_display = ("endpoint", "scheme", "creation_date", "expires_at", "id")
    come_by = _("A webhook has its key from the time it is made.")
    list_filter = ("scheme",)
    list_select_related = ("endpoint",)
    fields = ("id", "workspace", "endpoint", "scheme", "creation_date", "expires_at")
    readonly_fields = fields
    search_fields = ("endpoint__name",)
    ordering = ("-creation_date", "-pk")

    def title_of(self, row: SigningKey) -> str:
        return f"{row.endpoint}: {row.scheme}"


@admin.register(AuditEntry)
class AuditEntryAdmin(RecordAdmin):
    """Who did what, to look at."""

    list_display = ("at", "actor_kind", "actor_name", "address", "did", "of", "object_id", "workspace")
    list_filter = ("actor_kind",)
    list_select_related = ("workspace",)
    fields = (*list_display[:5], "written", *list_display[5:], "actor_id", "changed")
    readonly_fields = fields
    search_fields = ("object_id__exact", "actor_id__exact", "operation__exact")
    ordering = ("-at", "-pk")
    show_full_result_count = False

    @admin.display(description=_("operation"))
    def did(self, entry: AuditEntry) -> str:
        return operation_name(entry.operation)

    @admin.display(description=_("As it is written and searched"))
    def written(self, entry: AuditEntry) -> str:
        return format_html("<code>{}</code>", entry.operation)

    @admin.display(description=_("object type"))
    def of(self, entry: AuditEntry) -> str:
        return object_name(entry.object_type)

    @admin.display(description=_("changes"))
    def changed(self, entry: AuditEntry) -> str:
        return format_html('<pre dir="auto">{}</pre>', json.dumps(entry.changes, indent=2, ensure_ascii=False))

    def title_of(self, row: AuditEntry) -> str:
        return f"{operation_name(row.operation)}: {row.actor_name or row.actor_id}"
