"""The traffic, for operators: to look at, not to change."""

from routing.admin import sockets, usage, workers
from routing.admin.traffic import BoundedPaginator

__all__ = ["BoundedPaginator", "sockets", "usage", "workers"]
