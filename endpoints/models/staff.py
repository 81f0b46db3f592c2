"""Which workspaces members of staff see in the admin."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models

from endpoints.models.workspaces import Workspace

SEE_ALL = "endpoints.see_all_workspaces"


class StaffBinding(models.Model):
    """A member of staff sees a workspace. Who has no binding, and no permission to see them all, sees none."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="staff_bindings", db_index=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="staff_bindings")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "workspace"], name="staff_bound_once")]

    def __str__(self) -> str:
        return f"{self.user_id} sees {self.workspace_id}"

    @classmethod
    def workspaces_of(cls, user: Any) -> set[UUID] | None:
        """Return those that `user` sees, or None for all of them."""
        if user.has_perm(SEE_ALL):
            return None
        return set(cls.objects.filter(user=user.pk).values_list("workspace_id", flat=True))
