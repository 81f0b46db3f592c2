from decimal import Decimal
from typing import Self

from django.db import models, transaction

from event_service_client.django.outbox import publish


class Order(models.Model):
    customer = models.CharField(max_length=50)
    total = models.DecimalField(max_digits=9, decimal_places=2)

    def __str__(self) -> str:
        return f"{self.pk} of {self.customer}"

    @classmethod
    def place(cls, customer: str, total: Decimal) -> Self:
        with transaction.atomic():
            order = cls.objects.create(customer=customer, total=total)
            publish(
                "order.placed",
                {"order": order.pk, "total": total},
                subject=f"order/{order.pk}",
                ordering_key=customer,
            )
        return order
