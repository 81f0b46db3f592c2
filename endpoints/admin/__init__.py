"""The configuration, for operators. Forms refuse what the API refuses, in the same words."""

from endpoints.admin import event_types, filters, portal, records, staff, workspaces
from endpoints.admin.endpoints import EndpointAdmin, EndpointForm

__all__ = ["EndpointAdmin", "EndpointForm", "event_types", "filters", "portal", "records", "staff", "workspaces"]
