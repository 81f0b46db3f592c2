"""Keys: made, and refused from then on."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import graphene
from django.db import transaction

from endpoints.models import ApiKey, Scope, Workspace
from endpoints.models.workspaces import OVERLAP_S
from endpoints.schema.access import for_change, one
from endpoints.schema.mutations.endpoints import OK
from endpoints.schema.scalars import DateTime, KeyScope
from endpoints.schema.types import ApiKeyOutput, Ok


class CreateApiKey(graphene.Mutation):
    """Create a key. Its text is in this answer and nowhere else."""

    class Arguments:
        name = graphene.String(required=True)
        scopes = graphene.List(graphene.NonNull(KeyScope), required=True)
        expires_at = DateTime()

    key = graphene.String(required=True, description="The text to send as 'Authorization: Bearer KEY'.")
    api_key = graphene.Field(ApiKeyOutput, required=True)

    @staticmethod
    def mutate(
        _root: None, info: Any, name: str, scopes: Sequence[Any], expires_at: datetime | None = None
    ) -> dict[str, Any]:
        key, text = ApiKey.issue(
            workspace=Workspace.objects.get(pk=info.context.workspace_id(Scope.MANAGE)),
            name=name,
            scopes=[scope.value for scope in scopes],
            expires_at=expires_at,
        )
        return {"key": text, "api_key": key}


class RotateApiKey(graphene.Mutation):
    """Make a key that may do the same, and let the old one go on for a while. Its text is in this answer alone."""

    class Arguments:
        id = graphene.ID(required=True)
        overlap_seconds = graphene.Int(
            default_value=OVERLAP_S, description="How long the old one can still be used; at 0 it is revoked."
        )
        expires_at = DateTime(description="When left out, the new one lives for as long as the old one was to.")

    Output = CreateApiKey

    @staticmethod
    @transaction.atomic
    def mutate(
        _root: None, info: Any, id: str, overlap_seconds: int | None, expires_at: datetime | None = None
    ) -> dict[str, Any]:
        old = one(for_change(info.context.own(ApiKey.objects.all(), Scope.MANAGE)), id, "id")
        overlap_s = OVERLAP_S if overlap_seconds is None else overlap_seconds
        key, text = old.rotate(overlap_s=overlap_s, expires_at=expires_at)
        return {"key": text, "api_key": key}


class RevokeApiKey(graphene.Mutation):
    """Refuse a key from now on."""

    class Arguments:
        id = graphene.ID(required=True)

    Output = Ok

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, id: str) -> dict[str, bool]:
        one(info.context.own(ApiKey.objects.all(), Scope.MANAGE), id, "id").revoke()
        return OK
