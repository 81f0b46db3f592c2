from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"

    def ready(self) -> None:
        from routing import router, signals

        signals.events_recorded.connect(router.route, dispatch_uid="routing.router.route")
