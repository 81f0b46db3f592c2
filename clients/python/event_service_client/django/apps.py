from django.apps import AppConfig


class OutboxConfig(AppConfig):
    name = "event_service_client.django"
    label = "event_service_outbox"
    verbose_name = "Event Service"
    default_auto_field = "django.db.models.BigAutoField"
