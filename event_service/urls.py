"""Which path answers what. The event door and the websockets come before these: see asgi.py."""

from typing import Any

from django.contrib import admin
from django.urls import include, path, reverse_lazy
from django.views.generic import RedirectView
from django.views.i18n import set_language

from event_service.contract import DOCUMENTS
from event_service.contract.door import tell
from event_service.graphql import graphql
from event_service.health import healthz, readyz
from event_service.metrics import metrics
from routing.admin.acting import change_state, replay, rotate_secret, test_endpoint
from routing.admin.bulk import act_on_all
from routing.admin.replaying import new_replay, replay_page, stop_replay
from routing.admin.trying import try_filter
from routing.admin.views import forget_view, save_view
from routing.admin.whys import why_page
from routing.console.filters import check, known
from routing.console.queue import queue, release, set_drained
from routing.live import live, live_ticket


def to(view: str) -> Any:
    """Lead from the stem of other addresses to where people look for them."""
    return admin.site.admin_view(RedirectView.as_view(pattern_name=f"admin:{view}"))


of_an_endpoint = [
    path("", to("endpoints_endpoint_changelist")),
    path("<uuid:object_id>/", to("endpoints_endpoint_change")),
    path("<uuid:endpoint_id>/test/", admin.site.admin_view(test_endpoint), name="endpoint-test"),
    path("<uuid:endpoint_id>/replay/", admin.site.admin_view(replay), name="endpoint-replay"),
    path("<uuid:endpoint_id>/rotate/", admin.site.admin_view(rotate_secret), name="endpoint-rotate"),
    path("<uuid:endpoint_id>/<str:state>/", admin.site.admin_view(change_state), name="endpoint-state"),
]
of_lists = [
    path("deliveries/", to("routing_delivery_changelist")),
    path("events/", to("routing_event_changelist")),
    path("replay/", to("routing_replay_changelist")),
    path("replay/new/", to("endpoints_endpoint_changelist")),
    path("deliveries/<str:act>/", admin.site.admin_view(act_on_all), name="act-on-all"),
    path("replay/new/<uuid:endpoint_id>/", admin.site.admin_view(new_replay), name="new-replay"),
    path("replay/<uuid:replay_id>/", admin.site.admin_view(replay_page), name="replay"),
    path("replay/<uuid:replay_id>/stop/", admin.site.admin_view(stop_replay), name="stop-replay"),
    path("views/<str:model>/", admin.site.admin_view(save_view), name="save-view"),
    path("views/<str:model>/<uuid:view_id>/", admin.site.admin_view(forget_view), name="forget-view"),
]
of_the_queue = [
    path("", admin.site.admin_view(queue), name="queue"),
    path("<uuid:endpoint_id>/", admin.site.admin_view(release), name="release"),
    path("worker/<uuid:node_id>/drain/", admin.site.admin_view(set_drained), {"drained": True}, name="drain"),
    path("worker/<uuid:node_id>/resume/", admin.site.admin_view(set_drained), {"drained": False}, name="resume"),
]
urlpatterns = [
    path("", RedirectView.as_view(url=reverse_lazy("graphql"))),
    path("event-service/graphql", graphql, name="graphql"),
    *(path(f"event-service/{name}", tell, {"name": name}) for name in DOCUMENTS),
    path("event-service/live", live, name="live"),
    path("event-service/live/ticket", live_ticket, name="live-ticket"),
    path("event-service/portal/", include("routing.portal.urls")),
    path("event-service/language", set_language, name="set_language"),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", metrics),
    path("admin/try-filter/", admin.site.admin_view(try_filter), name="try-filter"),
    path("admin/filter/check/", admin.site.admin_view(check), name="filter-check"),
    path("admin/filter/known/", admin.site.admin_view(known), name="filter-known"),
    path("admin/endpoint/", include(of_an_endpoint)),
    path("admin/", include(of_lists)),
    path("admin/queue/", include(of_the_queue)),
    path("admin/why/", admin.site.admin_view(why_page), name="why"),
    path("admin/", admin.site.urls),
]
