"""The portal's addresses, below door.PATH."""

from django.urls import path

from routing.portal.acts import replay, secret, test_endpoint, try_now
from routing.portal.deliveries import deliver_again, deliver_now, deliveries, delivery
from routing.portal.door import leave, open_link
from routing.portal.endpoints import change_state, edit, endpoint, home
from routing.portal.look import logo, theme

urlpatterns = [
    path("", home, name="portal"),
    path("open", open_link, name="portal-open"),
    path("leave", leave, name="portal-leave"),
    path("theme.css", theme, name="portal-theme"),
    path("logo", logo, name="portal-logo"),
    path("endpoints/<uuid:endpoint_id>/", endpoint, name="portal-endpoint"),
    path("endpoints/<uuid:endpoint_id>/edit/", edit, name="portal-edit"),
    path("endpoints/<uuid:endpoint_id>/test/", test_endpoint, name="portal-test"),
    path("endpoints/<uuid:endpoint_id>/secret/", secret, name="portal-secret"),
    path("endpoints/<uuid:endpoint_id>/replay/", replay, name="portal-replay"),
    path("endpoints/<uuid:endpoint_id>/now/", try_now, name="portal-try-now"),
    path("endpoints/<uuid:endpoint_id>/<str:state>/", change_state, name="portal-state"),
    path("deliveries/", deliveries, name="portal-deliveries"),
    path("deliveries/<uuid:delivery_id>/", delivery, name="portal-delivery"),
    path("deliveries/<uuid:delivery_id>/again/", deliver_again, name="portal-again"),
    path("deliveries/<uuid:delivery_id>/now/", deliver_now, name="portal-now"),
]
