"""What webhooks are signed with."""

import secrets
from base64 import b64encode
from datetime import timedelta
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from psycopg.errors import UniqueViolation

from endpoints.checks import checked_overlap_s, checked_secret
from endpoints.constraints import SameWorkspace
from endpoints.errors import BadInput, Conflict, Limited
from endpoints.models.workspaces import Workspace
from endpoints.vault import fingerprint, seal, unseal

if TYPE_CHECKING:
    from endpoints.models.endpoints import Endpoint

OVERLAP_S = 86_400
MAX_OLD = 5  # of one endpoint and scheme: each is one more signature in every request


class SigningKeyQuerySet(models.QuerySet["SigningKey"]):
    def valid(self) -> Self:
        """Leave out what a rotation has replaced and whose overlap is over, by the database's clock."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))


class SigningKey(models.Model):
    """A key of one endpoint. Old ones are valid beside the current one until they expire."""

    class Scheme(models.TextChoices):
        V1 = "v1"  # HMAC-SHA256 with a shared secret
        V1A = "v1a"  # ed25519, which the receiver verifies with the public key

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False, related_name="+")
    endpoint = models.ForeignKey("Endpoint", models.CASCADE, db_constraint=False, related_name="signing_keys")
    scheme = models.CharField(max_length=3, choices=Scheme.choices)
    sealed = models.BinaryField()  # the shared secret, or the seed of the private key
    fingerprint = models.BinaryField(max_length=32)
    creation_date = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True)  # null: the current key of its scheme

    objects = SigningKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint", "scheme"], condition=Q(expires_at=None), name="signing_key_current_once"
            ),
            models.UniqueConstraint(fields=["fingerprint"], name="signing_key_of_one_endpoint"),
            models.CheckConstraint(condition=Q(scheme__in=["v1", "v1a"]), name="signing_key_has_known_scheme"),
            SameWorkspace(column="endpoint_id", target="endpoints_endpoint", name="signing_key_endpoint_in_workspace"),
        ]

    def __str__(self) -> str:
        return f"{self.scheme} of {self.endpoint_id}"

    @classmethod
    def give(cls, endpoint: "Endpoint", scheme: Scheme, key: bytes | None = None) -> None:
        """Make the current key of `scheme`: 256 random bits, or `key`. Raises Conflict if any endpoint has that."""
        key = secrets.token_bytes(32) if key is None else key
        try:
            with transaction.atomic():
                cls.objects.create(
                    workspace_id=endpoint.workspace_id,
                    endpoint=endpoint,
                    scheme=scheme,
                    sealed=seal(key),
                    fingerprint=fingerprint(key),
                )
        except IntegrityError as error:
            cause = error.__cause__
            if not isinstance(cause, UniqueViolation) or cause.diag.constraint_name != "signing_key_of_one_endpoint":
                raise
            raise Conflict(_("This secret is in use; give one that no endpoint has had, or none."), "secret") from None

    @classmethod
    @transaction.atomic
    def rotate(cls, endpoint: "Endpoint", *, secret: str | None = None, overlap_s: int = OVERLAP_S) -> None:
        """Give `endpoint`, a locked row, a new key of each scheme that it has; `secret` becomes that of v1.

        What was current is valid for `overlap_s` more; at 0 all old keys end at once.
        Raises BadInput, Limited for too many old keys and Conflict for a secret that is in use.
        """
        if endpoint.type == "WEB_SOCKET":
            raise BadInput(f"Endpoint {endpoint.pk} is a websocket; only webhooks have a secret.", "id")
        own = {} if secret is None else {cls.Scheme.V1: checked_secret(secret)}
        overlap = timedelta(seconds=checked_overlap_s(overlap_s))
        keys = endpoint.signing_keys
        current = list(keys.filter(expires_at=None).order_by("scheme"))
        if overlap:
            keys.filter(expires_at__lte=Now()).delete()
            _refuse_too_many(endpoint)
            keys.filter(expires_at=None).update(expires_at=Now() + overlap)
        else:
            keys.all().delete()
        for key in current:
            scheme = cls.Scheme(key.scheme)
            cls.give(endpoint, scheme, own.get(scheme))

    @classmethod
    def give_or_take_asymmetric(cls, endpoint: "Endpoint", *, wanted: bool) -> None:
        """Make the ed25519 key of `endpoint`, a locked row, if it has none; or delete it with its old ones."""
        keys = endpoint.signing_keys.filter(scheme=cls.Scheme.V1A)
        if not wanted:
            keys.delete()
        elif not keys.filter(expires_at=None).exists():
            cls.give(endpoint, cls.Scheme.V1A)

    @property
    def secret(self) -> str:
        """Return the shared secret in the form of Standard Webhooks: 'whsec_' and base64."""
        return f"whsec_{b64encode(unseal(bytes(self.sealed))).decode()}"

    @property
    def public_key(self) -> str:
        """Return the public half of a v1a key in the form of Standard Webhooks: 'whpk_' and base64."""
        public = Ed25519PrivateKey.from_private_bytes(unseal(bytes(self.sealed))).public_key()
        return f"whpk_{b64encode(public.public_bytes_raw()).decode()}"


def _refuse_too_many(endpoint: "Endpoint") -> None:
    old = endpoint.signing_keys.filter(scheme=SigningKey.Scheme.V1).exclude(expires_at=None).order_by("expires_at")
    ends = list(old.values_list("expires_at", flat=True))
    if len(ends) >= MAX_OLD:
        said = _(
            "%(given)s old secrets are still valid, the first until %(until)s; at most %(most)s may be. "
            "Rotate after that, or with overlapSeconds 0, which ends all of them."
        )
        raise Limited(said % {"given": len(ends), "until": f"{ends[0]:%Y-%m-%dT%H:%M:%SZ}", "most": MAX_OLD})
