"""The GraphQL API of the configuration."""

from endpoints.schema.mutations import Mutation
from endpoints.schema.queries import Query

__all__ = ["Mutation", "Query"]
