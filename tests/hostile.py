"""What an attacker would have shown to operators, in every text of every table that the admin shows."""

from typing import Any

from django.apps import apps
from django.db import DatabaseError, models, transaction

from endpoints.models import Endpoint, EventFilter, Workspace
from routing.models import Attempt, Event
from tests.test_admin import fill

HOSTILE = (
    "\"'><script>window.__pwned=1</script></script><img src=x onerror=window.__pwned=2>"
    "<svg onload=alert(3)>{{7*7}}\u202egnp.exe\u2066"
)
LONG = HOSTILE + "x" * 20_000
URL = 'javascript:window.__pwned=4//"><img src=x onerror=alert(5)>'


def plant() -> int:
    """Fill a workspace, write the text wherever the database takes it, and return in how many columns it stands."""
    workspace = Workspace.objects.create(name="hostile")
    fill(workspace, 2)
    tables = [model for app in ("endpoints", "routing") for model in apps.get_app_config(app).get_models()]
    taken = sum(_write(model, field) for model in tables for field in model._meta.concrete_fields if _is_text(field))
    # What is no http:// or https:// the table itself refuses.
    Endpoint.objects.filter(type="WEB_HOOK").update(url=f"http://a.example/{HOSTILE}")
    Event.objects.update(data=f'{{"{HOSTILE[5:30]}": "{LONG[5:].replace(chr(34), "")}"}}')
    Attempt.objects.update(response_body=LONG.encode() if _is_binary(Attempt, "response_body") else LONG)
    EventFilter.objects.update(definition={"pattern": {"data": {HOSTILE: [HOSTILE, URL]}}})
    return taken


def _is_text(field: Any) -> bool:
    return isinstance(field, models.CharField | models.TextField) and not field.choices and not field.primary_key


def _is_binary(model: Any, name: str) -> bool:
    return isinstance(model._meta.get_field(name), models.BinaryField)


def _write(model: type[models.Model], field: Any) -> int:
    """Write the text into a column of every row, each a little different, as far as constraints allow."""
    taken = 0
    for number, row in enumerate(model._default_manager.order_by("pk")):
        text = f"{URL}{number}" if number % 2 else f"{HOSTILE}{number}{LONG}"
        try:
            with transaction.atomic():
                taken = model._default_manager.filter(pk=row.pk).update(**{field.attname: text[: field.max_length]})
        except DatabaseError:
            return 0
    return taken
