from django.apps import AppConfig
from django.core import checks


class EndpointsConfig(AppConfig):
    name = "endpoints"

    def ready(self) -> None:
        from endpoints import sealed

        checks.register(sealed.check_keys, checks.Tags.security)
        checks.register(sealed.check_secrets, checks.Tags.database)
