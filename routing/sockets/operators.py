"""Operators who look on: people who may see events in the admin. They have no key."""

from collections.abc import Set
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import QuerySet

from endpoints.models import StaffBinding
from endpoints.models.staff import SEE_ALL
from routing.sockets.refusals import NOT_ALLOWED, Refusal

PERMISSION = "routing.view_event"
Look = tuple[int, UUID]  # a user's at an endpoint


def looks_that_are_allowed(looks: Set[Look]) -> set[Look]:
    """Return those whose users may look at events, and see the workspaces of the endpoints."""
    users = {user_id for user_id, _ in looks}
    operators = set(_staff_with(PERMISSION).filter(pk__in=users).values_list("pk", flat=True))
    unbound = set(_staff_with(SEE_ALL).filter(pk__in=operators).values_list("pk", flat=True))
    bound = StaffBinding.objects.filter(
        user__in=operators, workspace__endpoints__in={endpoint for _, endpoint in looks}
    )
    seen = set(bound.values_list("user_id", "workspace__endpoints"))
    return {look for look in looks if look[0] in operators and (look[0] in unbound or look in seen)}


def may_see_deliveries(user_id: int) -> bool:
    return _staff_with("routing.view_delivery").filter(pk=user_id).exists()


def _staff_with(permission: str) -> QuerySet[User]:
    backend = "django.contrib.auth.backends.ModelBackend"
    return User.objects.with_perm(permission, backend=backend).filter(is_staff=True)


def operator_lost() -> Refusal:
    return Refusal(
        NOT_ALLOWED,
        f"The operator is no member of staff any more, has lost {PERMISSION}, or does not see the workspace.",
    )
