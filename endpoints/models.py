"""Who wants what: the configuration, which people edit over GraphQL and in the admin."""

import base64
import hashlib
import secrets
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from endpoints.constraints import SameWorkspace
from endpoints.errors import BadInput
from endpoints.patterns import parse_definition

NAME_LENGTH = 200
URL_LENGTH = 2000


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

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["name"], name="workspace_name_once"),
            models.CheckConstraint(condition=~Q(name=""), name="workspace_has_name"),
        ]


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
    prefix = models.CharField(max_length=12, editable=False)  # by which people recognise the key
    digest = models.BinaryField(max_length=64, unique=True, editable=False)  # SHA-512; the key itself is not kept
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope.choices))
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
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

        256 random bits need no salt and no slow hash. Raises BadInput for an unknown scope.
        """
        unknown = sorted(set(scopes) - set(Scope.values))
        if unknown or not scopes:
            given = ", ".join(unknown) or "no scope"
            raise BadInput(f"{given}: a key has one or more of {', '.join(Scope.values)}.", "scopes")
        text = f"evs_{secrets.token_urlsafe(32)}"
        key = cls.objects.create(
            workspace=workspace,
            name=checked_name(name),
            prefix=text[:12],
            digest=key_digest(text),
            scopes=sorted(set(scopes)),
            expires_at=expires_at,
        )
        return key, text

    def revoke(self) -> None:
        """Refuse the key from now on. A key that is revoked already keeps its date."""
        ApiKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=Now())
        self.refresh_from_db()


def key_digest(key: str) -> bytes:
    return hashlib.sha512(key.encode()).digest()


class EndpointQuerySet(models.QuerySet["Endpoint"]):
    def live(self) -> Self:
        """Leave out what was deleted: such rows stay for the history of their deliveries."""
        return self.filter(deleted_at=None)


class Endpoint(Configuration):
    class Type(models.TextChoices):
        WEB_SOCKET = "WEB_SOCKET"
        WEB_HOOK = "WEB_HOOK"

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

    workspace = models.ForeignKey(Workspace, models.PROTECT, related_name="endpoints", db_index=False)
    type = models.CharField(max_length=10, choices=Type.choices)
    url = models.CharField(max_length=URL_LENGTH, blank=True)
    method = models.CharField(max_length=6, choices=Method.choices, blank=True)
    secret = models.CharField(max_length=100, blank=True, editable=False)  # whsec_..., of a webhook
    open_access = models.BooleanField(
        default=False,
        help_text="Anybody who knows the id of this websocket endpoint may listen, without a key.",
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    state_reason = models.CharField(max_length=200, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    event_filters: "models.ManyToManyField[EventFilter, FilterLink]" = models.ManyToManyField(
        "EventFilter", through="FilterLink", related_name="endpoints", blank=True
    )

    objects = EndpointQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "id"], name="endpoint_in_workspace"),
            models.CheckConstraint(condition=~Q(name=""), name="endpoint_has_name"),
            models.CheckConstraint(
                condition=Q(type="WEB_SOCKET", url="", method="", secret="")
                | Q(type="WEB_HOOK", open_access=False, method__in=["POST", "PUT", "PATCH", "GET", "DELETE"])
                & (Q(url__startswith="http://") | Q(url__startswith="https://"))
                & Q(secret__startswith="whsec_"),
                name="endpoint_fits_its_type",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["ACTIVE", "PAUSED"]) | Q(state="DISABLED") & ~Q(state_reason=""),
                name="endpoint_state_has_reason",
            ),
        ]
        # The list of a workspace, newest first.
        indexes = [models.Index(fields=["workspace", "-creation_date"], name="endpoint_newest")]

    @property
    def meta(self) -> dict[str, str]:
        """Return {} for a websocket, {"url", "method"} for a webhook."""
        return {"url": self.url, "method": self.method} if self.type == Endpoint.Type.WEB_HOOK else {}

    @classmethod
    def create_web_socket(cls, *, workspace_id: UUID, name: str) -> "Endpoint":
        return cls.objects.create(workspace_id=workspace_id, name=checked_name(name), type=cls.Type.WEB_SOCKET)

    @classmethod
    def create_webhook(cls, *, workspace_id: UUID, name: str, url: str, method: str = "POST") -> "Endpoint":
        """Make a webhook with a secret of its own. Raises BadInput for a bad name, URL or method."""
        return cls.objects.create(
            workspace_id=workspace_id,
            name=checked_name(name),
            type=cls.Type.WEB_HOOK,
            url=checked_url(url),
            method=checked_method(method),
            secret=new_secret(),
        )

    def change(self, *, name: str | None = None, url: str | None = None, method: str | None = None) -> None:
        """Change what is given. Raises BadInput, and changes nothing, where a value is bad."""
        if self.type == Endpoint.Type.WEB_SOCKET and (url is not None or method is not None):
            raise BadInput("A websocket endpoint has no url and no method.", "url" if url is not None else "method")
        if name is not None:
            self.name = checked_name(name)
        if url is not None:
            self.url = checked_url(url)
        if method is not None:
            self.method = checked_method(method)
        self.save(update_fields=["name", "url", "method", "last_modified"])

    @classmethod
    def change_state(cls, endpoints: Iterable["Endpoint"], state: State, reason: str = "") -> None:
        """Put all of them into `state`, in one statement."""
        cls.objects.filter(pk__in=[endpoint.pk for endpoint in endpoints]).update(
            state=state, state_reason=reason, last_modified=Now()
        )

    @classmethod
    def remove(cls, endpoints: Iterable["Endpoint"]) -> None:
        """Delete all of them, for everybody but the history: their open deliveries will be cancelled."""
        ids = [endpoint.pk for endpoint in endpoints]
        with transaction.atomic():
            FilterLink.objects.filter(endpoint_id__in=ids).delete()
            cls.objects.filter(pk__in=ids, deleted_at=None).update(deleted_at=Now(), last_modified=Now())


class EventFilter(Configuration):
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="event_filters", db_index=False)
    # As it was given: {"in": {"eventTypes": [...], ...}} or {"pattern": {...}}. See patterns.py.
    definition = models.JSONField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "id"], name="event_filter_in_workspace"),
            models.CheckConstraint(condition=~Q(name=""), name="event_filter_has_name"),
        ]
        # The list of a workspace, newest first.
        indexes = [models.Index(fields=["workspace", "-creation_date"], name="event_filter_newest")]

    @classmethod
    def create(
        cls, *, workspace_id: UUID, name: str, definition: dict[str, Any], endpoints: Iterable[Endpoint] = ()
    ) -> "EventFilter":
        """Make a filter and link it to `endpoints`, or nothing. Raises BadInput for a bad name or definition."""
        parse_definition(definition)
        with transaction.atomic():
            event_filter = cls.objects.create(workspace_id=workspace_id, name=checked_name(name), definition=definition)
            FilterLink.link(endpoints, event_filter)
        return event_filter

    def change(self, *, name: str | None = None, definition: dict[str, Any] | None = None) -> None:
        """Change what is given. Raises BadInput, and changes nothing, where a value is bad."""
        if definition is not None:
            parse_definition(definition)
            self.definition = definition
        if name is not None:
            self.name = checked_name(name)
        self.save(update_fields=["name", "definition", "last_modified"])

    @classmethod
    def remove(cls, event_filters: Iterable["EventFilter"]) -> None:
        """Delete all of them with their links."""
        cls.objects.filter(pk__in=[event_filter.pk for event_filter in event_filters]).delete()


class FilterLink(models.Model):
    # Composite keys, below, stand in for the constraints of single columns.
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False, related_name="+")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, db_constraint=False, db_index=False, related_name="links")
    event_filter = models.ForeignKey(EventFilter, models.CASCADE, db_constraint=False, related_name="links")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "event_filter"], name="filter_link_once"),
            SameWorkspace(column="endpoint_id", target="endpoints_endpoint", name="filter_link_endpoint_in_workspace"),
            SameWorkspace(
                column="event_filter_id",
                target="endpoints_eventfilter",
                name="filter_link_event_filter_in_workspace",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.endpoint_id} - {self.event_filter_id}"

    @classmethod
    def link(cls, endpoints: Iterable[Endpoint], event_filter: EventFilter) -> None:
        """Link all of them; what is linked stays so."""
        links = [
            FilterLink(workspace_id=event_filter.workspace_id, endpoint=endpoint, event_filter=event_filter)
            for endpoint in endpoints
        ]
        FilterLink.objects.bulk_create(links, ignore_conflicts=True)

    @classmethod
    def unlink(cls, endpoints: Iterable[Endpoint], event_filter: EventFilter) -> None:
        """Unlink all of them; what is not linked stays so."""
        cls.objects.filter(endpoint__in=list(endpoints), event_filter=event_filter).delete()


def checked_name(name: str) -> str:
    if not name.strip():
        raise BadInput("name is empty; give 1 to 200 characters.", "name")
    if len(name) > NAME_LENGTH:
        raise BadInput(f"name has {len(name)} characters; at most {NAME_LENGTH} are kept.", "name")
    if "\0" in name:
        raise BadInput("name holds a NUL character, which can't be stored.", "name")
    return name


def checked_url(url: str) -> str:
    """Return `url` if it is a plain http(s) URL with a host. What it may reach is judged when it is dialled."""
    problem = _url_problem(url)
    if problem:
        raise BadInput(f"url {url[:200]!r} {problem}.", "url")
    return url


def _url_problem(url: str) -> str | None:
    if len(url) > URL_LENGTH:
        return f"has {len(url)} characters; at most {URL_LENGTH} are kept"
    if any(character <= " " or character in "\x7f\\" for character in url):
        return "holds a space, a control character or a backslash; write them percent-encoded"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is not a URL: {error}"
    if parts.scheme not in ("http", "https"):
        return "is not http:// or https://"
    if not parts.hostname:
        return "names no host"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or password; send credentials in a header"
    if port == 0:
        return "has port 0; use 1 to 65535"
    return None


def checked_method(method: str) -> str:
    if method not in Endpoint.Method.values:
        raise BadInput(f"method {method!r} is unknown; use one of {', '.join(Endpoint.Method.values)}.", "method")
    return method


def new_secret() -> str:
    """Return a signing secret in the form of Standard Webhooks: 'whsec_' and 256 random bits in base64."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
