"""The GraphQL API of the traffic."""

from routing.schema.mutations import Mutation
from routing.schema.queries import Query
from routing.schema.subscriptions import Subscription

__all__ = ["Mutation", "Query", "Subscription"]
