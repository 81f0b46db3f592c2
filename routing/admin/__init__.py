from routing.admin import sockets, usage, views, workers
from routing.admin.traffic import BoundedPaginator

__all__ = ["BoundedPaginator", "sockets", "usage", "views", "workers"]
