"""What the console calls the operations and objects of the audit log. The log itself keeps how they were written."""

import re

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import model_format_dict
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

_NAMES = {
    # of the API
    "cancelDeliveries": _("Cancel deliveries"),
    "cancelReplay": _("Stop a replay"),
    "createApiKey": _("Issue a key"),
    "createEventFilters": _("Create filters"),
    "createPortalLink": _("Make a link to the portal"),
    "createReplay": _("Start a replay"),
    "createWebSocketEndpoint": _("Create a websocket endpoint"),
    "createWebhookEndpoint": _("Create a webhook endpoint"),
    "deleteEndpoint": _("Delete endpoints"),
    "deleteEndpoints": _("Delete endpoints"),
    "deleteEventFilters": _("Delete filters"),
    "deleteEventTypes": _("Delete event types"),
    "endpointSecret": _("Show a secret"),
    "expediteDeliveries": _("Try deliveries now"),
    "linkEndpointsToEventFilters": _("Link endpoints to filters"),
    "pauseEndpoints": _("Pause endpoints"),
    "resumeEndpoints": _("Resume endpoints"),
    "retryDeliveries": _("Deliver again"),
    "revokeApiKey": _("Revoke a key"),
    "revokePortalLink": _("Revoke a link to the portal"),
    "rotateApiKey": _("Rotate a key"),
    "rotateEndpointSecret": _("Rotate a secret"),
    "testEndpoint": _("Send a test"),
    "unlinkEndpointsToEventFilters": _("Unlink endpoints from filters"),
    "updateEndpoint": _("Change an endpoint"),
    "updateEventFilters": _("Change a filter"),
    "updateEventType": _("Change an event type"),
    "updatePortalTheme": _("Change how the portal looks"),
    # of the console
    "act-on-all": _("Act on all deliveries that are found"),
    "admin.auth_user_password_change": _("Set a password"),
    "admin.endpoints_endpoint_secret": _("Show a secret"),
    "admin.endpoints_workspace_portal": _("Make a link to the portal"),
    "admin.endpoints_workspace_revoke": _("Revoke a link to the portal"),
    "admin.password_change": _("Change password"),
    "drain": _("Drain a worker"),
    "endpoint-replay": _("Deliver again what failed"),
    "endpoint-rotate": _("Rotate a secret"),
    "endpoint-state": _("Pause or resume an endpoint"),
    "endpoint-test": _("Send a test"),
    "new-replay": _("Start a replay"),
    "release": _("Close a breaker"),
    "resume": _("Resume a worker"),
    "stop-replay": _("Stop a replay"),
    # of the portal
    "portal-again": _("Deliver again"),
    "portal-edit": _("Change an endpoint"),
    "portal-now": _("Try deliveries now"),
    "portal-open": _("Open the portal"),
    "portal-replay": _("Deliver again what failed"),
    "portal-secret": _("Show or rotate a secret"),
    "portal-state": _("Pause or resume an endpoint"),
    "portal-test": _("Send a test"),
    "portal-try-now": _("Try deliveries now"),
    # of manage.py
    "apply": _("Apply a configuration"),
    "create_groups": _("Create the groups of operators"),
    "create_key": _("Issue a key"),
    "create_workspace": _("Create a workspace"),
    "first_start": _("Prepare the first start"),
    "import_svix": _("Import from Svix"),
    "new_epoch": _("Begin a new epoch"),
    "prune_audit": _("Forget old entries of the audit log"),
    "reseal": _("Seal secrets anew"),
    "rotate_key": _("Rotate a key"),
    "two_factor": _("Set the second factor"),
    # by itself
    "endpoint.disabled": _("Disable an endpoint that fails"),
}
_OF_A_TABLE = re.compile(r"admin\.(?P<app>[a-z]+)_(?P<model>[a-z]+)_(?P<view>[a-z]+)(?:\.(?P<action>\w+))?")
_VIEWS = {"add": _("Add: %(name)s"), "change": _("Change: %(name)s"), "delete": _("Delete: %(name)s")}


def operation_name(operation: str) -> str:
    """Return what the console calls an operation; what it has no name for, as it was written."""
    if operation in _NAMES:
        return str(_NAMES[operation])
    found = _OF_A_TABLE.fullmatch(operation)
    if found is None:
        return operation
    try:
        model = apps.get_model(found["app"], found["model"])
    except LookupError:
        return operation
    if found["view"] in _VIEWS:
        return str(_VIEWS[found["view"]]) % {"name": model._meta.verbose_name}
    page = admin.site.get_model_admin(model)
    if found["action"] in (*(page.actions or ()), "delete_selected"):
        _function, _name, description = page.get_action(found["action"])  # type: ignore[misc]
        return str(description) % model_format_dict(model._meta)
    return operation


def object_name(object_type: str) -> str:
    """Return what the console calls a kind of object, which the log has by the name of its class."""
    named = {model.__name__: model._meta.verbose_name for model in apps.get_models()}
    return str(capfirst(named.get(object_type, object_type)))
