"""Portal links, made, and refused from then on; and how the portal looks."""

from base64 import b64decode
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import graphene
from django.db import transaction
from django.urls import reverse

from endpoints.errors import BadInput
from endpoints.models import Endpoint, PortalLink, PortalTheme, Scope, Workspace
from endpoints.models.portal import LIFE_S
from endpoints.schema.access import Caller, one
from endpoints.schema.mutations.endpoints import OK
from endpoints.schema.scalars import LinkRight
from endpoints.schema.types import Ok, PortalLinkOutput, PortalThemeOutput


class CreatePortalLink(graphene.Mutation):
    """Make a link to a portal for a customer. Its address is in this answer and nowhere else."""

    class Arguments:
        name = graphene.String(required=True, description="For whom; the audit log names it.")
        endpoint_id = graphene.ID(description="All that it shows; the whole workspace when left out.")
        rights = graphene.List(graphene.NonNull(LinkRight), description="Besides view, which it has always.")
        expires_in = graphene.Int(default_value=LIFE_S, description="Seconds until it, and what it opened, end.")
        once = graphene.Boolean(default_value=False, description="Whether it opens once, for whoever comes first.")

    url = graphene.String(required=True, description="What to open in a browser. Whoever has it has the rights.")
    portal_link = graphene.Field(PortalLinkOutput, required=True)

    @staticmethod
    def mutate(
        _root: None,
        info: Any,
        name: str,
        endpoint_id: str | None = None,
        rights: Sequence[Any] | None = None,
        expires_in: int | None = None,
        once: bool | None = None,
    ) -> dict[str, Any]:
        caller: Caller = info.context
        endpoints = caller.own(Endpoint.objects.live(), Scope.MANAGE)
        link, token = PortalLink.issue(
            workspace=Workspace.objects.get(pk=caller.workspace_id(Scope.MANAGE)),
            name=name,
            endpoint=None if endpoint_id is None else one(endpoints, endpoint_id, "endpointId"),
            rights=[right.value for right in rights or ()],
            expires_in_s=LIFE_S if expires_in is None else expires_in,
            once=bool(once),
        )
        return {"url": f"{caller.origin}{reverse('portal-open')}?{urlencode({'token': token})}", "portal_link": link}


class RevokePortalLink(graphene.Mutation):
    """Refuse a portal link, and whoever opened it, from now on."""

    class Arguments:
        id = graphene.ID(required=True)

    Output = Ok

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, id: str) -> dict[str, bool]:
        one(info.context.own(PortalLink.objects.all(), Scope.MANAGE), id, "id").revoke()
        return OK


class UpdatePortalTheme(graphene.Mutation):
    """Change how the portal of the workspace looks."""

    class Arguments:
        name = graphene.String()
        color = graphene.String(description="#rrggbb, in lower case.")
        logo = graphene.String(description="A PNG, JPEG or WebP of at most 64 KiB, in base64; empty takes it away.")

    Output = PortalThemeOutput

    @staticmethod
    @transaction.atomic
    def mutate(
        _root: None, info: Any, name: str | None = None, color: str | None = None, logo: str | None = None
    ) -> PortalTheme:
        workspace = Workspace.objects.get(pk=info.context.workspace_id(Scope.MANAGE))
        return PortalTheme.change(workspace, name=name, color=color, logo=None if logo is None else _decoded(logo))


def _decoded(logo: str) -> bytes:
    try:
        return b64decode(logo, validate=True)
    except ValueError:
        raise BadInput("The logo is not in base64.", "logo") from None
