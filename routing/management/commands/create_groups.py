"""Groups for the admin, each of which may do what the one before may, and more."""

from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import transaction

from endpoints.audit import AuditedCommand

VIEW = (
    *("view_workspace", "view_apikey", "view_endpoint", "view_signingkey", "view_eventfilter", "view_eventtype"),
    *("view_filterlink", "view_auditentry", "view_event", "view_delivery", "view_attempt", "view_replay"),
    *("view_idempotencyrecord", "view_typetally", "view_cursor", "view_lane", "view_socket", "view_socketticket"),
    *("view_sharegroup", "view_shareddelivery", "view_deliverychange", "view_portallink", "view_portaltheme"),
)
OPERATE: tuple[str, ...] = ("pause_endpoint", "resume_endpoint", "retry_delivery", "cancel_delivery", "cancel_replay")
OPERATE += ("test_endpoint", "add_replay", "release_lane", "drain_workernode")
EDIT = tuple(
    f"{verb}_{noun}"
    for noun in ("endpoint", "eventfilter", "eventtype", "filterlink")
    for verb in ("add", "change", "delete")
)
SECRETS = ("rotate_endpoint_secret", "reveal_endpoint_secret", "add_apikey", "change_apikey", "revoke_apikey")
PORTAL = ("add_portallink", "revoke_portallink", "add_portaltheme", "change_portaltheme")
GROUPS = {
    "viewer": VIEW,
    "operator": (*VIEW, *OPERATE),
    "manager": (*VIEW, *OPERATE, *EDIT, *SECRETS, *PORTAL),
}


class Command(AuditedCommand):
    help = "Make the groups viewer, operator and manager, or set their permissions back to what they are made with."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        ours = Permission.objects.filter(content_type__app_label__in=("endpoints", "routing"))
        for name, codenames in GROUPS.items():
            group, _ = Group.objects.get_or_create(name=name)
            group.permissions.set(ours.filter(codename__in=codenames))
            self.tell(f"{name}: {len(codenames)} permissions", group=name, permissions=sorted(codenames))
