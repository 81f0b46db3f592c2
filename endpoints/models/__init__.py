"""Who wants what: the configuration, which people edit over GraphQL and in the admin."""

from endpoints.models.audit import AuditEntry
from endpoints.models.endpoints import Endpoint
from endpoints.models.event_types import EventType
from endpoints.models.filters import EventFilter, FilterLink
from endpoints.models.portal import PortalLink, PortalRight, PortalTheme
from endpoints.models.signing import SigningKey
from endpoints.models.spending import Spending
from endpoints.models.staff import StaffBinding
from endpoints.models.workspaces import ApiKey, Scope, Workspace, key_digest

__all__ = [
    "ApiKey",
    "AuditEntry",
    "Endpoint",
    "EventFilter",
    "EventType",
    "FilterLink",
    "PortalLink",
    "PortalRight",
    "PortalTheme",
    "Scope",
    "SigningKey",
    "Spending",
    "StaffBinding",
    "Workspace",
    "key_digest",
]
