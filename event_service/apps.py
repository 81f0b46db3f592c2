from django.contrib.admin.apps import AdminConfig


class SiteConfig(AdminConfig):
    default_site = "event_service.site.Site"

    def ready(self) -> None:
        from django.db.models.signals import post_migrate, pre_migrate

        from event_service import names
        from event_service.postgres import patience

        names.translate()
        super().ready()
        pre_migrate.connect(patience.limit, sender=self, dispatch_uid="event_service.postgres.patience.limit")
        post_migrate.connect(patience.lift, sender=self, dispatch_uid="event_service.postgres.patience.lift")
