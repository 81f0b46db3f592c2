"""Daphne, with an end and with limits: it drains, bounds what a client can make it hold, and adopts a socket."""

from event_service.server.edge import Edge
from event_service.server.server import Server

__all__ = ["Edge", "Server"]
