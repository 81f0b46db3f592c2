from django.apps import AppConfig
from django.core import checks


class EndpointsConfig(AppConfig):
    name = "endpoints"

    def ready(self) -> None:
        from endpoints import sealed, tenancy

        checks.register(sealed.check_keys, checks.Tags.security)
        checks.register(sealed.check_secrets, checks.Tags.database)
        checks.register(tenancy.check_roles, checks.Tags.database)
