"""Open websockets, for operators: to look at, not to change."""

from django.contrib import admin

from routing.admin.traffic import OfEndpoint, TrafficAdmin
from routing.models import DeliveryChange, SharedDelivery, ShareGroup, Socket, SocketNode, SocketTicket


@admin.register(Socket)
class SocketAdmin(OfEndpoint):
    list_display = ("endpoint", "address", "share", "watches", "opened_at", "id")
    list_select_related = ("endpoint",)
    ids = ("pk", "endpoint_id", "key_id")
    fields = ("id", "workspace", "endpoint", "key", "address", "share", "watches", "node", "opened_at")


@admin.register(SocketNode)
class SocketNodeAdmin(TrafficAdmin):
    list_display = fields = ("id", "seen_at")


@admin.register(SocketTicket)
class SocketTicketAdmin(OfEndpoint):
    list_display = ("endpoint", "address", "expires_at", "id")
    list_select_related = ("endpoint",)
    fields = ("id", "endpoint", "key", "user_id", "address", "expires_at")


@admin.register(ShareGroup)
class ShareGroupAdmin(TrafficAdmin):
    list_display = ("name", "endpoint", "scanned_to", "creation_date")
    list_select_related = ("endpoint",)
    ids = ("endpoint_id",)
    fields = ("name", "endpoint", "scanned_to", "creation_date")


@admin.register(SharedDelivery)
class SharedDeliveryAdmin(TrafficAdmin):
    list_display = ("group", "seq", "delivery_id", "ordering_key", "socket_id", "not_before")
    list_select_related = ("group",)
    search_fields = ()  # no index has an id
    ids = ()
    fields = ("group", "seq", "delivery", "ordering_key", "socket", "not_before")

    def title_of(self, row: SharedDelivery) -> str:
        return f"{row.group} № {row.seq}"


@admin.register(DeliveryChange)
class DeliveryChangeAdmin(OfEndpoint):
    list_display = ("endpoint", "delivery_id", "changed_at", "id")
    list_select_related = ("endpoint",)
    ids = ("endpoint_id",)
    fields = ("id", "endpoint", "delivery", "transaction_id", "changed_at")
