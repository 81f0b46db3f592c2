"""Where events go."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import UUID, uuid4

from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from endpoints.checks import URL_LENGTH, checked_headers, checked_method, checked_name, checked_url
from endpoints.errors import BadInput
from endpoints.models.quotas import USED, Quota, require_room
from endpoints.models.signing import SigningKey
from endpoints.models.workspaces import Configuration, Workspace
from endpoints.policy import Settings, as_columns, checked_payload_shape, published
from endpoints.vault import seal

if TYPE_CHECKING:
    from endpoints.models.filters import EventFilter, FilterLink


class EndpointQuerySet(models.QuerySet["Endpoint"]):
    def live(self) -> Self:
        """Leave out what was deleted: such rows stay for the history of their deliveries."""
        return self.filter(deleted_at=None)


class Endpoint(Configuration):
    class Type(models.TextChoices):
        WEB_SOCKET = "WEB_SOCKET", "Websocket"
        WEB_HOOK = "WEB_HOOK", "Webhook"

    class State(models.TextChoices):
        ACTIVE = "ACTIVE"  # gets events
        PAUSED = "PAUSED"  # its events wait until it is resumed
        DISABLED = "DISABLED"  # its events are skipped, each with a row that says so

    class Method(models.TextChoices):
        POST = "POST"
        PUT = "PUT"
        PATCH = "PATCH"
        GET = "GET"
        DELETE = "DELETE"

    class PayloadFormat(models.TextChoices):
        STANDARD = "STANDARD"
        CLOUDEVENTS_STRUCTURED = "CLOUDEVENTS_STRUCTURED"
        CLOUDEVENTS_BINARY = "CLOUDEVENTS_BINARY"

    class Ordering(models.TextChoices):
        UNORDERED = "UNORDERED"
        FIFO_BLOCK = "FIFO_BLOCK"  # by ordering key; one that fails holds up its key until its end
        FIFO_SKIP = "FIFO_SKIP"  # by ordering key; one that fails lets the next of its key go first

    workspace = models.ForeignKey(Workspace, models.PROTECT, related_name="endpoints", db_index=False)
    type = models.CharField(max_length=10, choices=Type.choices)
    url = models.CharField("URL", max_length=URL_LENGTH, blank=True)
    method = models.CharField(max_length=6, choices=Method.choices, blank=True)
    open_access = models.BooleanField(
        default=False,
        help_text="Anybody who knows the id of this websocket endpoint may listen, without a key.",
    )
    # How a webhook is sent to; what is empty or null is the default. See policy.py.
    headers = models.JSONField(default=dict, blank=True)  # name -> sealed value, which may be a credential
    payload_format = models.CharField(max_length=22, choices=PayloadFormat.choices, default=PayloadFormat.STANDARD)
    retry_policy = models.JSONField(default=dict, blank=True)
    max_in_flight = models.PositiveSmallIntegerField(null=True, blank=True)
    rate_limit = models.PositiveIntegerField(null=True, blank=True)  # requests in rate_period_s
    rate_period_s = models.PositiveIntegerField("rate period in seconds", default=1)
    ordering = models.CharField(max_length=10, choices=Ordering.choices, default=Ordering.UNORDERED)
    payload_shape = models.JSONField(null=True, blank=True)  # null: data goes out as it came in; see shaping.py
    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    state_reason = models.CharField(max_length=200, blank=True)
    resumed_at = models.DateTimeField(null=True, blank=True, editable=False)  # also where it was active, but held back
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    event_filters: "models.ManyToManyField[EventFilter, FilterLink]" = models.ManyToManyField(
        "EventFilter", through="FilterLink", related_name="endpoints", blank=True
    )

    objects = EndpointQuerySet.as_manager()

    class Meta:
        permissions = [
            ("pause_endpoint", "Can pause endpoints"),
            ("resume_endpoint", "Can resume endpoints"),
            ("test_endpoint", "Can send tests to endpoints"),
            ("rotate_endpoint_secret", "Can rotate endpoints' secrets"),
            ("reveal_endpoint_secret", "Can see endpoints' secrets"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "id"], name="endpoint_in_workspace"),
            models.CheckConstraint(condition=~Q(name=""), name="endpoint_has_name"),
            models.CheckConstraint(
                condition=Q(type="WEB_SOCKET", url="", method="", headers={}, retry_policy={}, ordering="UNORDERED")
                | Q(type="WEB_HOOK", open_access=False, method__in=["POST", "PUT", "PATCH", "GET", "DELETE"])
                & (Q(url__startswith="http://") | Q(url__startswith="https://")),
                name="endpoint_fits_its_type",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["ACTIVE", "PAUSED"]) | Q(state="DISABLED") & ~Q(state_reason=""),
                name="endpoint_state_has_reason",
            ),
            models.CheckConstraint(
                condition=(Q(rate_limit=None) | Q(rate_limit__gt=0)) & Q(rate_period_s__gt=0),
                name="endpoint_rate_is_positive",
            ),
            models.CheckConstraint(
                condition=Q(max_in_flight=None) | Q(max_in_flight__gt=0), name="endpoint_max_in_flight_is_positive"
            ),
        ]
        indexes = [
            # The list of a workspace, newest first.
            models.Index(fields=["workspace", "-creation_date"], name="endpoint_newest"),
            # queue.presence and queue.upkeep, once a second: what was deleted of late.
            models.Index(fields=["deleted_at"], condition=models.Q(deleted_at__isnull=False), name="endpoint_deleted"),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save it. Raises OverQuota where it is new and its workspace has as many as it may."""
        with transaction.atomic():
            if self._state.adding:
                require_room(self.workspace_id, Quota.ENDPOINTS, "endpoints")
            super().save(*args, **kwargs)

    @property
    def meta(self) -> dict[str, str]:
        """Return {} for a websocket, {"url", "method"} for a webhook."""
        return {"url": self.url, "method": self.method} if self.type == Endpoint.Type.WEB_HOOK else {}

    @classmethod
    def create_web_socket(cls, *, workspace_id: UUID, name: str, payload_shape: Any = None) -> "Endpoint":
        return cls.objects.create(
            workspace_id=workspace_id,
            name=checked_name(name),
            type=cls.Type.WEB_SOCKET,
            payload_shape=checked_payload_shape(payload_shape),
        )

    @classmethod
    def create_webhook(
        cls,
        *,
        workspace_id: UUID,
        name: str,
        url: str,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        asymmetric_signatures: bool | None = None,
        id: UUID | None = None,
        **settings: Unpack[Settings],
    ) -> "Endpoint":
        """Make a webhook with a secret of its own. Raises BadInput for a bad value."""
        with transaction.atomic():
            endpoint = cls.objects.create(
                id=id or uuid4(),
                workspace_id=workspace_id,
                name=checked_name(name),
                type=cls.Type.WEB_HOOK,
                url=checked_url(url),
                method=checked_method(method),
                headers=_sealed(checked_headers(headers or {})),
                **as_columns(settings),
            )
            endpoint.give_secret()
            if asymmetric_signatures:
                SigningKey.give(endpoint, SigningKey.Scheme.V1A)
        return endpoint

    def change(
        self,
        *,
        name: str | None = None,
        url: str | None = None,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
        asymmetric_signatures: bool | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        """Change what is given; None of `settings` is the default.

        Raises BadInput, and changes nothing, where a value is bad.
        """
        of_webhooks = {"url": url, "method": method, "headers": headers, "asymmetricSignatures": asymmetric_signatures}
        given = [*(field for field, value in of_webhooks.items() if value is not None), *map(published, settings)]
        given = [field for field in given if field != "payloadShape"]
        if self.type == Endpoint.Type.WEB_SOCKET and given:
            raise BadInput(_("A websocket endpoint has no %(field)s.") % {"field": given[0]}, given[0])
        columns = as_columns(settings)
        for column, value in columns.items():
            setattr(self, column, value)
        if name is not None:
            self.name = checked_name(name)
        if url is not None:
            self.url = checked_url(url)
        if method is not None:
            self.method = checked_method(method)
        if headers is not None:
            self.headers = _sealed(checked_headers(headers))
        if asymmetric_signatures is not None:
            SigningKey.give_or_take_asymmetric(self, wanted=asymmetric_signatures)
        self.save(update_fields=["name", "url", "method", "headers", *columns, "last_modified"])

    @classmethod
    def change_state(cls, endpoints: Iterable["Endpoint"], state: State, reason: str = "") -> None:
        """Put all of them into `state`, in one statement. To resume one forgets what was held against it: see Lane."""
        resumed: dict[str, Any] = {"resumed_at": Now()} if state == cls.State.ACTIVE else {}
        cls.objects.filter(pk__in=[endpoint.pk for endpoint in endpoints]).update(
            state=state, state_reason=reason, last_modified=Now(), **resumed
        )

    @classmethod
    def remove(cls, endpoints: Iterable["Endpoint"]) -> None:
        """Delete all of them and their secrets; the rest stays for the history. Open deliveries will be cancelled."""
        ids = [endpoint.pk for endpoint in endpoints]
        with transaction.atomic():
            cls.event_filters.through.objects.filter(endpoint_id__in=ids).delete()
            SigningKey.objects.filter(endpoint_id__in=ids).delete()
            cls.objects.filter(pk__in=ids, deleted_at=None).update(headers={}, deleted_at=Now(), last_modified=Now())

    def give_secret(self) -> None:
        """Make the first signing key of a webhook."""
        SigningKey.give(self, SigningKey.Scheme.V1)

    @property
    def secret(self) -> str:
        """Return the current secret of a webhook, whsec_...; "" for a websocket."""
        return "".join(key.secret for key in self._current(SigningKey.Scheme.V1))

    @property
    def public_key(self) -> str | None:
        """Return what verifies v1a signatures, whpk_..., or None where there are none."""
        return next((key.public_key for key in self._current(SigningKey.Scheme.V1A)), None)

    def _current(self, scheme: SigningKey.Scheme) -> QuerySet[SigningKey]:
        return self.signing_keys.filter(scheme=scheme, expires_at=None)


def _count(workspace_id: UUID) -> int:
    return Endpoint.objects.live().filter(workspace_id=workspace_id).count()


USED[Quota.ENDPOINTS] = _count


def _sealed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: seal(value.encode()).decode() for name, value in headers.items()}
