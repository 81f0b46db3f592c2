"""The API's schema: what the two apps offer, joined."""

import graphene

import endpoints.schema
import routing.schema
from endpoints.schema.scalars import accept_quoted_enums


class Query(endpoints.schema.Query, routing.schema.Query):
    """Everything that can be asked."""


class Mutation(endpoints.schema.Mutation, routing.schema.Mutation):
    """Everything that can be changed. Lists are changed as a whole or not at all."""


schema = graphene.Schema(query=Query, mutation=Mutation)
accept_quoted_enums(schema.graphql_schema)
