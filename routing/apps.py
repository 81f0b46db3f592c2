from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"

    def ready(self) -> None:
        from endpoints.models.quotas import USED, Quota
        from routing import router, signals
        from routing.models import DailyEvents, Socket

        signals.events_recorded.connect(router.route, dispatch_uid="routing.router.route")
        USED[Quota.EVENTS] = DailyEvents.of_today
        USED[Quota.SOCKETS] = lambda workspace_id: Socket.objects.filter(workspace_id=workspace_id).count()
