from routing.admin import endpoints, sockets, usage, views, workers
from routing.admin.traffic import BoundedPaginator

__all__ = ["BoundedPaginator", "endpoints", "sockets", "usage", "views", "workers"]
