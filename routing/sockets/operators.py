"""Operators who look on: people who may see events in the admin. They have no key."""

from collections.abc import Set

from django.contrib.auth.models import User

from routing.sockets.refusals import NOT_ALLOWED, Refusal

PERMISSION = "routing.view_event"


def operators_that_may_look(user_ids: Set[int]) -> set[int]:
    operators = User.objects.with_perm(PERMISSION).filter(is_staff=True, pk__in=user_ids)
    return set(operators.values_list("pk", flat=True))


def operator_lost() -> Refusal:
    return Refusal(NOT_ALLOWED, f"The operator is no member of staff any more, or has lost {PERMISSION}.")
