"""What a workspace's page in the admin begins with."""

from typing import Any

from django import template
from django.utils.translation import gettext_lazy as _

from endpoints.models import ApiKey, EventType, PortalLink, PortalTheme, Workspace
from endpoints.models.quotas import Quota, standing

register = template.Library()
MOST_LINKS = 20
_NAMES = {
    Quota.EVENTS: _("Events today"),
    Quota.ENDPOINTS: _("Endpoints"),
    Quota.EVENT_FILTERS: _("Filters"),
    Quota.SOCKETS: _("Open websockets"),
}


@register.inclusion_tag("routing/workspace.html", takes_context=True)
def workspace_page(context: template.Context, workspace: Workspace) -> dict[str, Any]:
    """Show what is in it and how much there may be, who has links to its portal, and how that looks."""
    links = PortalLink.objects.filter(workspace=workspace).usable().select_related("endpoint").newest()
    return {
        "workspace": workspace,
        "standings": [(_NAMES[quota], standing(workspace, quota)) for quota in Quota],
        "keys": ApiKey.objects.filter(workspace=workspace).usable().count(),
        "types": EventType.objects.filter(workspace=workspace).count(),
        "links": links[:MOST_LINKS],
        "theme": PortalTheme.objects.defer("logo").filter(workspace=workspace).first(),
        "perms": context["perms"],
        "csrf_token": context["csrf_token"],
    }
