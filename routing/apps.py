from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"

    def ready(self) -> None:
        from django.db.models.signals import post_migrate

        from endpoints.models.quotas import USED, Quota
        from routing import partitions, router, signals
        from routing.models import DailyEvents, Socket

        signals.events_recorded.connect(router.route, dispatch_uid="routing.router.route")
        post_migrate.connect(partitions.after_migrate, sender=self, dispatch_uid="routing.partitions.after_migrate")
        USED[Quota.EVENTS] = DailyEvents.of_today
        USED[Quota.SOCKETS] = lambda workspace_id: Socket.objects.filter(workspace_id=workspace_id).count()
