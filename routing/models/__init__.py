"""What happened and where it went: the traffic, which code writes and people read.

Ids are UUIDv7 (RFC 9562): in the order of time, so the newest come first by the primary key.
"""

from routing.models.deliveries import Attempt, Delivery
from routing.models.events import Answer, Event, IdempotencyRecord, Recorded
from routing.models.lanes import Cursor, Lane
from routing.models.replays import Replay
from routing.models.retention import Forgotten
from routing.models.rollups import Count, Rollup
from routing.models.sockets import DeliveryChange, SharedDelivery, ShareGroup, Socket, SocketNode, SocketTicket
from routing.models.tallies import TypeTally
from routing.models.usage import DailyEvents, DayIsFull, recording
from routing.models.views import SavedView
from routing.models.workers import WorkerNode

__all__ = [
    "Answer",
    "Attempt",
    "Count",
    "Cursor",
    "DailyEvents",
    "DayIsFull",
    "Delivery",
    "DeliveryChange",
    "Event",
    "Forgotten",
    "IdempotencyRecord",
    "Lane",
    "Recorded",
    "Replay",
    "Rollup",
    "SavedView",
    "ShareGroup",
    "SharedDelivery",
    "Socket",
    "SocketNode",
    "SocketTicket",
    "TypeTally",
    "WorkerNode",
    "recording",
]
