"""Open websockets, and what the members of their groups divide among them."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from endpoints.constraints import SameWorkspace
from endpoints.models import ApiKey, Endpoint, Workspace
from routing.models.deliveries import Delivery
from routing.submissions import TEXT_LENGTH

GROUP_LENGTH = 64


class SocketNode(models.Model):
    """A process that serves websockets, and says again and again that it lives."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    seen_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return str(self.id)


class Socket(models.Model):
    """A websocket that is open. Who has died with its process is swept by the others."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    node = models.ForeignKey(SocketNode, models.CASCADE, related_name="sockets")
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="+")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="sockets")
    key = models.ForeignKey(ApiKey, models.CASCADE, null=True, related_name="+")
    address = models.CharField(max_length=64, blank=True)
    share = models.CharField(max_length=GROUP_LENGTH, blank=True)
    watches = models.BooleanField(default=False, db_default=False)  # changes of deliveries, rather than events
    looks_on = models.BooleanField(default=False, db_default=False)  # so that nothing is delivered to it
    opened_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            SameWorkspace(column="endpoint_id", target="endpoints_endpoint", name="socket_endpoint_in_workspace")
        ]
        indexes = [
            # The trigger on deliveries, at every change of any: who watches?
            models.Index(fields=["endpoint"], condition=Q(watches=True), name="socket_watches"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class DeliveryChange(models.Model):
    """That a delivery of a watched endpoint was written or changed: a trigger notes it, and it is kept for a minute."""

    endpoint = models.ForeignKey(Endpoint, models.CASCADE, db_constraint=False, db_index=False, related_name="+")
    delivery = models.ForeignKey(Delivery, models.CASCADE, db_constraint=False, db_index=False, related_name="+")
    transaction_id = models.BigIntegerField()  # that changed it: who reads must not miss the one that commits late
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            # watching.read: what is new of these endpoints ...
            models.Index(fields=["endpoint", "transaction_id"], name="delivery_change_new"),
            # ... and watching.forget: what is old.
            models.Index(fields=["changed_at"], name="delivery_change_old"),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id}"


class SocketTicket(models.Model):
    """Opens one websocket, once, within seconds: for browsers, which would show a key to everybody.

    Made with a key, or by an operator who looks on.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    digest = models.BinaryField(max_length=64, unique=True)  # SHA-512; the ticket itself is not kept
    key = models.ForeignKey(ApiKey, models.CASCADE, null=True, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="+")
    address = models.CharField(max_length=64, blank=True)  # that alone may use it, if it is named
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(key=None, user__isnull=False) | Q(key__isnull=False, user=None),
                name="socket_ticket_of_key_or_user",
            )
        ]
        indexes = [models.Index(fields=["expires_at"], name="socket_ticket_expires")]

    def __str__(self) -> str:
        return f"for {self.endpoint_id}"


class ShareGroup(models.Model):
    """Sockets that divide an endpoint's events. It keeps its place while it has no members."""

    endpoint = models.ForeignKey(Endpoint, models.CASCADE, db_index=False, related_name="share_groups")
    name = models.CharField(max_length=GROUP_LENGTH)
    scanned_to = models.BigIntegerField()  # what comes behind is not divided yet
    creation_date = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["endpoint", "name"], name="share_group_once")]

    def __str__(self) -> str:
        return self.name


class SharedDelivery(models.Model):
    """A delivery that a group has not acknowledged: with one of its members, or waiting for one."""

    group = models.ForeignKey(ShareGroup, models.CASCADE, db_index=False, related_name="+")
    seq = models.BigIntegerField()
    delivery = models.ForeignKey(Delivery, models.CASCADE, db_constraint=False, db_index=False, related_name="+")
    ordering_key = models.CharField(max_length=TEXT_LENGTH, blank=True)
    socket = models.ForeignKey(Socket, models.SET_NULL, null=True, related_name="+")
    not_before = models.DateTimeField(null=True)  # where a member asked for a delay

    class Meta:
        verbose_name_plural = "shared deliveries"
        constraints = [models.UniqueConstraint(fields=["group", "seq"], name="shared_delivery_once")]
        indexes = [
            # sharing.take: which keys are with whom ...
            models.Index(fields=["group", "ordering_key"], condition=~Q(ordering_key=""), name="shared_by_key"),
            # ... and what waits.
            models.Index(fields=["group", "seq"], condition=Q(socket=None), name="shared_waiting"),
        ]

    def __str__(self) -> str:
        return f"{self.seq}"
