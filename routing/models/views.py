"""Searches of the console that somebody wants to come back to."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from routing.submissions import TEXT_LENGTH

QUERY_LENGTH = 4_000


class SavedView(models.Model):
    """The query string of a list, under a name: its owner's or, shared, everybody's who sees every workspace."""

    MOST = 50  # of one list, that are shown to one

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    model = models.CharField(max_length=20)  # whose list
    name = models.CharField(max_length=TEXT_LENGTH)
    query = models.CharField(max_length=QUERY_LENGTH, blank=True)
    shared = models.BooleanField(default=False)
    creation_date = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "model", "name"], name="saved_view_once")]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def of(cls, user: Any, model: str) -> list["SavedView"]:
        seen = cls.objects.filter(Q(user=user.pk) | Q(shared=True), model=model)
        return [*seen.order_by("name", "pk")[: cls.MOST]]
