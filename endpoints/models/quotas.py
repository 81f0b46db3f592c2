"""How much a workspace may have: as is set for it, or else for the installation, where 0 is no limit."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext as _

from endpoints.errors import Limited
from endpoints.models.workspaces import Workspace


class Quota(StrEnum):
    """By the columns of a workspace."""

    EVENTS = "max_events_per_day"
    ENDPOINTS = "max_endpoints"
    EVENT_FILTERS = "max_event_filters"
    SOCKETS = "max_sockets"


# How much of it a workspace has. Whoever owns the rows says so.
USED: dict[Quota, Callable[[UUID], int]] = {}


class OverQuota(Limited):
    """A refusal that lasts until the workspace has less, or may have more."""


class Standing(NamedTuple):
    limit: int | None
    used: int


def limit_of(workspace: Workspace, quota: Quota) -> int | None:
    own: int | None = getattr(workspace, quota)
    installations: int = settings.QUOTAS[quota]
    return (installations or None) if own is None else own


def standing(workspace: Workspace, quota: Quota) -> Standing:
    return Standing(limit_of(workspace, quota), USED[quota](workspace.pk))


def require_room(workspace_id: UUID, quota: Quota, what: str) -> None:
    """Hold others up who want to add to the same workspace, until the transaction ends. Raises OverQuota."""
    workspace = Workspace.objects.select_for_update(no_key=True).get(pk=workspace_id)
    limit = limit_of(workspace, quota)
    if limit is None:
        return
    used = USED[quota](workspace_id)
    if used >= limit:
        said = _("This workspace has %(used)s %(what)s; at most %(most)s are allowed.")
        raise OverQuota(said % {"used": used, "what": _(what), "most": limit})
