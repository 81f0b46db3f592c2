"""The GraphQL API of the traffic."""

from routing.schema.mutations import Mutation
from routing.schema.queries import Query

__all__ = ["Mutation", "Query"]
