from django.contrib.admin.apps import AdminConfig


class SiteConfig(AdminConfig):
    default_site = "event_service.site.Site"

    def ready(self) -> None:
        from event_service import names

        names.translate()
        super().ready()
