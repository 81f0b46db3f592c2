"""Links by which a customer sees one workspace or endpoint, without an account; and how that looks."""

import re
import secrets
from collections.abc import Collection
from datetime import timedelta
from typing import Any, ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from endpoints.checks import checked_name
from endpoints.constraints import SameWorkspace
from endpoints.errors import BadInput, Limited
from endpoints.models.endpoints import Endpoint
from endpoints.models.workspaces import Configuration, Workspace, key_digest

MARK = "esp_"
_FORM = re.compile(rf"{MARK}[0-9A-Za-z_-]{{43}}")
LIFE_S, LIVES_S = 86_400, range(60, 90 * 86_400 + 1)  # of a link: unless it is told, and how long it may be
MOST_USABLE = 1_000  # links of a workspace
KEPT = timedelta(days=30)  # after its end, so that the list tells what there was


class PortalRight(models.TextChoices):
    VIEW = "view"  # endpoints, and what became of their deliveries
    OPERATE = "operate"  # pause and resume, test, deliver again
    EDIT = "edit"  # names and URLs
    SECRETS = "secrets"  # see and rotate what requests are signed with


class PortalLinkQuerySet(models.QuerySet["PortalLink"]):
    def usable(self) -> Self:
        """Leave out what is revoked or expired, by the database's clock, and whose endpoint was deleted."""
        return self.filter(expires_at__gt=Now(), revoked_at=None, endpoint__deleted_at=None)

    def newest(self) -> Self:
        return self.order_by("-creation_date", "-pk")


class PortalLink(Configuration):
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="portal_links", db_index=False)
    # All that it shows; empty: the whole workspace.
    endpoint = models.ForeignKey(
        Endpoint, models.CASCADE, null=True, blank=True, db_constraint=False, related_name="portal_links"
    )
    digest = models.BinaryField(max_length=64, unique=True, editable=False)  # SHA-512; the link itself is not kept
    rights = ArrayField(models.CharField(max_length=10, choices=PortalRight.choices))
    once = models.BooleanField(default=False, help_text="It can be opened once, by whoever comes first.")
    expires_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True, blank=True, editable=False)  # the last time
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = PortalLinkQuerySet.as_manager()

    class Meta:
        permissions = [("revoke_portallink", "Can revoke portal links")]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="portal_link_has_name"),
            models.CheckConstraint(
                condition=Q(rights__contained_by=list(PortalRight.values)) & Q(rights__contains=["view"]),
                name="portal_link_has_known_rights",
            ),
            SameWorkspace(column="endpoint_id", target="endpoints_endpoint", name="portal_link_endpoint_in_workspace"),
        ]
        # The list of a workspace, newest first; and how many of them can be used.
        indexes = [models.Index(fields=["workspace", "-creation_date"], name="portal_link_newest")]

    @classmethod
    @transaction.atomic
    def issue(
        cls,
        *,
        workspace: Workspace,
        name: str,
        endpoint: Endpoint | None = None,
        rights: Collection[str] = (),
        expires_in_s: int = LIFE_S,
        once: bool = False,
    ) -> tuple["PortalLink", str]:
        """Make a link and return it with its token, which can't be had again. To look is among its rights, always.

        Raises BadInput for an unknown right or a length of life, and Limited where the workspace has too many.
        """
        if unknown := sorted(set(rights) - set(PortalRight.values)):
            raise BadInput(f"{', '.join(unknown)}: a link's rights are {', '.join(PortalRight.values)}.", "rights")
        if expires_in_s not in LIVES_S:
            said = _("expiresIn is %(given)s; give %(least)s to %(most)s seconds.")
            raise BadInput(said % {"given": expires_in_s, "least": LIVES_S[0], "most": LIVES_S[-1]}, "expiresIn")
        name = checked_name(name)
        cls.objects.filter(workspace=workspace, expires_at__lt=Now() - KEPT).delete()
        if cls.objects.filter(workspace=workspace).usable().count() >= MOST_USABLE:
            said = _("This workspace has %(most)s links that can be used; revoke some, or let them expire.")
            raise Limited(said % {"most": MOST_USABLE})
        token = MARK + secrets.token_urlsafe(32)
        link = cls.objects.create(
            workspace=workspace,
            endpoint=endpoint,
            name=name,
            digest=key_digest(token),
            rights=[right for right in PortalRight.values if right in {PortalRight.VIEW, *rights}],
            once=once,
            expires_at=Now() + timedelta(seconds=expires_in_s),
        )
        link.refresh_from_db(fields=["expires_at"])
        return link, token

    @classmethod
    def named(cls, token: str) -> "PortalLink | None":
        """Return the link that `token` opens, if it can still be used. What is no token costs the database nothing."""
        if not _FORM.fullmatch(token):
            return None
        unused = cls.objects.usable().exclude(once=True, opened_at__isnull=False)
        return unused.select_related("workspace__portal_theme").filter(digest=key_digest(token)).first()

    def open(self) -> bool:
        """Write down that it is opened; False where it could not be any more. Of two at once who come to one that
        opens once, one finds it open."""
        free = PortalLink.objects.filter(Q(once=False) | Q(opened_at=None), expires_at__gt=Now(), revoked_at=None)
        return bool(free.filter(pk=self.pk).update(opened_at=Now()))

    def revoke(self) -> None:
        """Refuse it, and whoever opened it, from now on. One that is revoked already keeps its date."""
        PortalLink.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=Now())
        self.refresh_from_db()


class PortalTheme(Configuration):
    """How a workspace's portal looks. The logo is a small file that the database keeps."""

    LOGO_BYTES: ClassVar[int] = 64 * 1024
    COLOR: ClassVar[str] = "#4f46e5"

    workspace = models.OneToOneField(Workspace, models.CASCADE, related_name="portal_theme")
    color = models.CharField(max_length=7, default=COLOR)
    logo = models.BinaryField(max_length=LOGO_BYTES, default=b"", blank=True)
    logo_type = models.CharField(max_length=10, blank=True, editable=False)  # as its bytes say; empty: there is none

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="portal_theme_has_name"),
            # It is written into a stylesheet.
            models.CheckConstraint(condition=Q(color__regex=r"^#[0-9a-f]{6}$"), name="portal_theme_has_color"),
        ]

    @classmethod
    @transaction.atomic
    def change(
        cls, workspace: Workspace, *, name: str | None = None, color: str | None = None, logo: bytes | None = None
    ) -> "PortalTheme":
        """Change what is given; an empty logo takes it away. Raises BadInput."""
        theme, _is_new = cls.objects.select_for_update().get_or_create(
            workspace=workspace, defaults={"name": workspace.name}
        )
        if name is not None:
            theme.name = checked_name(name)
        if color is not None:
            theme.color = checked_color(color)
        if logo is not None:
            theme.logo = checked_logo(logo)
        theme.save()
        return theme

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.logo_type = image_type(bytes(self.logo)) or ""
        super().save(*args, **kwargs)


_IMAGES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
)


def image_type(data: bytes) -> str | None:
    """Return the media type of a PNG, a JPEG or a WebP by how it begins, whatever its sender calls it."""
    return next((type for beginning, type in _IMAGES if beginning.match(data)), None)


def checked_color(color: str) -> str:
    if not re.fullmatch(r"#[0-9a-f]{6}", color):
        said = _("color %(given)s is no #rrggbb in lower case, such as %(right)s.")
        raise BadInput(said % {"given": f"{color!r:.40}", "right": PortalTheme.COLOR}, "color")
    return color


def checked_logo(data: bytes) -> bytes:
    if len(data) > PortalTheme.LOGO_BYTES:
        said = _("The logo has %(given)s bytes; at most %(most)s are kept.")
        raise BadInput(said % {"given": len(data), "most": PortalTheme.LOGO_BYTES}, "logo")
    if data and image_type(data) is None:
        raise BadInput(_("The logo is no PNG, JPEG or WebP."), "logo")
    return data
