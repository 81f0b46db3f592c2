"""How a webhook is sent to, as the API takes it and shows it."""

from typing import Any

import graphene

from endpoints.models import Endpoint
from endpoints.schema.scalars import JSON

Ordering = graphene.Enum.from_enum(
    Endpoint.Ordering,
    name="Ordering",
    description="FIFO is by orderingKey. What fails holds up its key (BLOCK), or lets the next go (SKIP).",
)
PayloadFormat = graphene.Enum.from_enum(
    Endpoint.PayloadFormat, name="PayloadFormat", description="The form in which a webhook gets its events."
)


class ExponentialInput(graphene.InputObjectType):
    """Waits that grow: first, first * factor, first * factor * factor ... seconds, none longer than longest."""

    first = graphene.Float(required=True)
    attempts = graphene.Int(required=True, description="In all: 1 to 50.")
    factor = graphene.Float(description="1 to 10; 2 when left out.")
    longest = graphene.Float(description="A day when left out.")


class RetryPolicyInput(graphene.InputObjectType):
    """When a failed attempt is repeated; what is left out is the default. Give schedule or exponential, not both."""

    # Named as they are published, so that what is kept is what was given.
    schedule = graphene.List(
        graphene.NonNull(graphene.Float),
        description="Seconds to wait after the first failure, the second ...; up to 49, each up to a week.",
    )
    exponential = graphene.InputField(ExponentialInput)
    jitter = graphene.Float(description="How far a wait is varied by chance: 0.2, the default, is 20 % either way.")
    maxAgeSeconds = graphene.Float(description="No attempt starts when a delivery is older. No limit when left out.")
    deadlineSeconds = graphene.Float(description="For one attempt: 1 to 30; 15 when left out.")
    finalStatuses = graphene.List(
        graphene.NonNull(graphene.Int), description="4xx that no further attempt follows; none when left out."
    )


class RateLimitInput(graphene.InputObjectType):
    """At most count requests in any period of that length."""

    count = graphene.Int(required=True)
    period_seconds = graphene.Int(required=True)


class ShapeArguments:
    payload_shape = JSON(
        description='What is sent of data: {paths: ["customer.id"]} or {template: {...}}; all of it when null.'
    )


class SettingsArguments(ShapeArguments):
    """Arguments of the mutations that choose them; null is the default."""

    retry_policy = graphene.Argument(RetryPolicyInput)
    max_in_flight = graphene.Int(description="Requests at once: 1 to 1000; 100 when null.")
    rate_limit = graphene.Argument(RateLimitInput)
    ordering = graphene.Argument(Ordering)
    payload_format = graphene.Argument(PayloadFormat)


class RateLimitOutput(graphene.ObjectType):
    count = graphene.Int(required=True)
    period_seconds = graphene.Int(required=True)


class SettingsShown:
    """Fields of what has them."""

    retry_policy = graphene.Field(JSON, required=True, description="As it was given; {} is the default.")
    max_in_flight = graphene.Int(description="null is the default, 100.")
    rate_limit = graphene.Field(RateLimitOutput, description="null is no limit.")
    ordering = graphene.Field(Ordering, required=True)
    payload_format = graphene.Field(PayloadFormat, required=True)
    payload_shape = graphene.Field(JSON, description="What is sent of data; null is all of it.")

    @staticmethod
    def resolve_rate_limit(endpoint: Endpoint, _info: Any) -> dict[str, int] | None:
        if endpoint.rate_limit is None:
            return None
        return {"count": endpoint.rate_limit, "period_seconds": endpoint.rate_period_s}
