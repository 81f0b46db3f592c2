"""What is no longer there."""

from django.db import models

from endpoints.models import Endpoint


class Forgotten(models.Model):
    """How many of an endpoint's deliveries were pruned: written by that alone, so that nobody waits for it."""

    endpoint = models.OneToOneField(Endpoint, models.PROTECT, primary_key=True, related_name="+")
    deliveries = models.BigIntegerField()

    class Meta:
        verbose_name = "count of pruned deliveries"
        verbose_name_plural = "counts of pruned deliveries"

    def __str__(self) -> str:
        return f"{self.endpoint_id}: {self.deliveries} forgotten"
