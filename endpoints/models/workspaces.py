"""Workspaces, and the keys that open them."""

import hashlib
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Self
from uuid import UUID, uuid4

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Least, Now
from django.utils import timezone
from django.utils.translation import gettext as _

from endpoints.checks import NAME_LENGTH, checked_expiry, checked_name, checked_overlap_s
from endpoints.errors import BadInput, Conflict, NotFound
from endpoints.keys import SHOWN, new_key

OVERLAP_S = 86_400  # for which a key goes on beside the one that replaces it


class Configuration(models.Model):
    """What all configuration has: an id that tells nothing, a name, and when it was made and changed."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    name = models.CharField(max_length=NAME_LENGTH)
    creation_date = models.DateTimeField(editable=False)
    last_modified = models.DateTimeField(editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.last_modified = timezone.now()
        if self._state.adding:
            self.creation_date = self.last_modified
        super().save(*args, **kwargs)


class Workspace(Configuration):
    # Triggers raise it with every change of the workspace's configuration, whoever makes it; what was
    # compiled from the configuration is good for as long as the version stands.
    version = models.BigIntegerField(default=1, editable=False)
    # Likewise of what its event types enforce, apart: publishing asks for it, and endpoints change often.
    types_version = models.BigIntegerField(default=1, editable=False)
    unlisted_events = models.BigIntegerField(default=0, editable=False)  # of types beyond event_types.MAX_TYPES
    # What is empty is as the installation has it: see quotas.py.
    max_events_per_day = models.PositiveIntegerField(null=True, blank=True)
    max_endpoints = models.PositiveIntegerField(null=True, blank=True)
    max_event_filters = models.PositiveIntegerField(null=True, blank=True)
    max_sockets = models.PositiveIntegerField(null=True, blank=True)
    # How many days its events, their payloads and their attempts are kept, where that is less than the installation
    # keeps them.
    keep_days = models.PositiveSmallIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    keep_payloads_days = models.PositiveSmallIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    keep_attempts_days = models.PositiveSmallIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])

    class Meta:
        permissions = [("see_all_workspaces", "Can see every workspace")]
        constraints = [
            models.UniqueConstraint(fields=["name"], name="workspace_name_once"),
            models.CheckConstraint(condition=~Q(name=""), name="workspace_has_name"),
            models.CheckConstraint(
                condition=~Q(keep_days=0) & ~Q(keep_payloads_days=0) & ~Q(keep_attempts_days=0),
                name="workspace_keeps_a_day",
            ),
        ]

    @classmethod
    def called(cls, id_or_name: str) -> "Workspace":
        """Return the one that people mean. Raises NotFound with the names that come close."""
        wanted = Q(name=id_or_name)
        with suppress(ValueError):  # a name it is
            wanted |= Q(pk=UUID(id_or_name))
        found = cls.objects.filter(wanted).order_by("pk").first()
        if found is None:
            names = get_close_matches(id_or_name, cls.objects.values_list("name", flat=True))
            hint = f" Is it {' or '.join(map(repr, names))}?" if names else ""
            raise NotFound(f"There is no workspace with the id or name {id_or_name[:200]!r}.{hint}", "workspace")
        return found


class Scope(models.TextChoices):
    PUBLISH = "publish"
    READ = "read"
    MANAGE = "manage"
    SUBSCRIBE = "subscribe"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self) -> Self:
        """Leave out what is revoked or expired, by the database's clock."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), revoked_at=None)


class ApiKey(Configuration):
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="api_keys")
    prefix = models.CharField(max_length=SHOWN, editable=False)  # by which people recognise the key
    digest = models.BinaryField(max_length=64, unique=True, editable=False)  # SHA-512; the key itself is not kept
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope.choices))
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        permissions = [("revoke_apikey", "Can revoke API keys")]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="api_key_has_name"),
            models.CheckConstraint(
                condition=Q(scopes__contained_by=list(Scope.values)) & Q(scopes__len__gt=0),
                name="api_key_has_known_scopes",
            ),
        ]

    @classmethod
    def issue(
        cls, *, workspace: Workspace, name: str, scopes: Collection[str], expires_at: datetime | None = None
    ) -> tuple["ApiKey", str]:
        """Make a key and return it with its text, which can't be had again.

        256 random bits need no salt and no slow hash. Raises BadInput for an unknown scope, or
        an expiry that has passed.
        """
        unknown = sorted(set(scopes) - set(Scope.values))
        if unknown or not scopes:
            said = _("%(given)s: a key has one or more of %(known)s.")
            given = ", ".join(unknown) or _("no scope")
            raise BadInput(said % {"given": given, "known": ", ".join(Scope.values)}, "scopes")
        text = new_key()
        key = cls.objects.create(
            workspace=workspace,
            name=checked_name(name),
            prefix=text[:SHOWN],
            digest=key_digest(text),
            scopes=sorted(set(scopes)),
            expires_at=checked_expiry(expires_at),
        )
        return key, text

    @transaction.atomic
    def rotate(self, *, overlap_s: int = OVERLAP_S, expires_at: datetime | None = None) -> tuple["ApiKey", str]:
        """Make a key that may do the same and return it with its text; this one, a locked row, ends after `overlap_s`.

        Unless it is given when the new one expires, it lives for as long as this one was to. Raises Conflict for a key
        that can't be used any more, and BadInput.
        """
        if not ApiKey.objects.usable().filter(pk=self.pk).exists():
            raise Conflict(_("Key %(id)s is revoked or expired; make a new one.") % {"id": self.pk}, "id")
        overlap = timedelta(seconds=checked_overlap_s(overlap_s))
        if expires_at is None and self.expires_at:
            now = timezone.now()
            expires_at = now + min(self.expires_at - self.creation_date, datetime.max.replace(tzinfo=UTC) - now)
        made = ApiKey.issue(workspace=self.workspace, name=self.name, scopes=self.scopes, expires_at=expires_at)
        if overlap:
            ApiKey.objects.filter(pk=self.pk).update(expires_at=Least(F("expires_at"), Now() + overlap))
        else:
            self.revoke()
        return made

    def revoke(self) -> None:
        """Refuse the key from now on. A key that is revoked already keeps its date."""
        ApiKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=Now())
        self.refresh_from_db()


def key_digest(key: str) -> bytes:
    return hashlib.sha512(key.encode()).digest()
