"""The API's schema: what the two apps offer, joined."""

import graphene

import endpoints.schema
import routing.schema
from endpoints.schema.scalars import accept_quoted_enums


class Query(endpoints.schema.Query, routing.schema.Query):
    """Everything that can be asked."""


class Mutation(endpoints.schema.Mutation, routing.schema.Mutation):
    """Everything that can be changed. Lists are changed as a whole or not at all."""


class Subscription(routing.schema.Subscription):
    """Everything that is told as it happens, over a websocket."""


schema = graphene.Schema(query=Query, mutation=Mutation, subscription=Subscription)
accept_quoted_enums(schema.graphql_schema)
