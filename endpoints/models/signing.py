"""What webhooks are signed with."""

import base64
from typing import Self
from uuid import uuid4

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from endpoints.constraints import SameWorkspace
from endpoints.models.endpoints import Endpoint
from endpoints.models.workspaces import Workspace
from endpoints.vault import unseal


class SigningKeyQuerySet(models.QuerySet["SigningKey"]):
    def valid(self) -> Self:
        """Leave out what a rotation has replaced and whose overlap is over, by the database's clock."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))


class SigningKey(models.Model):
    """A key of one endpoint. Old ones are valid beside the current one until they expire."""

    class Scheme(models.TextChoices):
        V1 = "v1"  # HMAC-SHA256 with a shared secret

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False, related_name="+")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, db_constraint=False, related_name="signing_keys")
    scheme = models.CharField(max_length=3, choices=Scheme.choices)
    sealed = models.BinaryField()
    creation_date = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True)  # null: the current key of its scheme

    objects = SigningKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint", "scheme"], condition=Q(expires_at=None), name="signing_key_current_once"
            ),
            SameWorkspace(column="endpoint_id", target="endpoints_endpoint", name="signing_key_endpoint_in_workspace"),
        ]

    def __str__(self) -> str:
        return f"{self.scheme} of {self.endpoint_id}"

    @property
    def secret(self) -> str:
        """Return the secret in the form of Standard Webhooks: 'whsec_' and base64."""
        return f"whsec_{base64.b64encode(unseal(bytes(self.sealed))).decode()}"
