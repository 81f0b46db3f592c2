"""The list of endpoints says how each does, besides what it is set to: that is known here."""

from django.contrib import admin
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from endpoints.admin import EndpointAdmin
from endpoints.models import Endpoint
from routing.console.wording import state_of

admin.site.unregister(Endpoint)


@admin.register(Endpoint)
class WatchedEndpointAdmin(EndpointAdmin):
    list_display = ("name", "type", "stands", "url", "workspace", "creation_date")
    list_select_related = ("workspace", "lane")

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def stands(self, endpoint: Endpoint) -> str:
        reason = _(endpoint.state_reason) if endpoint.state_reason else ""
        return format_html(
            '<span class="badge {}">{}</span> <span class="muted">{}</span>', *state_of(endpoint), reason
        )
