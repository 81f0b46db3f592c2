"""Which path answers what. The event door and the websockets come before these: see asgi.py."""

from django.contrib import admin
from django.urls import path

from event_service.graphql import graphql
from event_service.health import healthz, readyz

urlpatterns = [
    path("event-service/graphql", graphql, name="graphql"),
    path("healthz", healthz),
    path("readyz", readyz),
    path("admin/", admin.site.urls),
]
