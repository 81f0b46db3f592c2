"""Who of the staff sees which workspaces. Those who are bound themselves have no access to it: see tenancy.py."""

from django.contrib import admin

from endpoints.admin.configuration import Titled
from endpoints.models import StaffBinding


@admin.register(StaffBinding)
class StaffBindingAdmin(Titled):
    list_display = fields = ("user", "workspace")
    list_select_related = ("user", "workspace")
    raw_id_fields = ("user", "workspace")
    search_fields = ("user__username", "workspace__name")
    ordering = ("-pk",)

    def title_of(self, row: StaffBinding) -> str:
        return f"{row.user} → {row.workspace}"
