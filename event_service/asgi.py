"""Which application answers what. The event door comes first, ahead of Django's middleware."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "event_service.settings")

from django.core.asgi import get_asgi_application

application = get_asgi_application()
