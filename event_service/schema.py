"""The API's schema: what the two apps offer, joined."""

import graphene

import endpoints.schema
from endpoints.schema.scalars import accept_quoted_enums


class Query(endpoints.schema.Query):
    pass


class Mutation(endpoints.schema.Mutation):
    pass


schema = graphene.Schema(query=Query, mutation=Mutation)
accept_quoted_enums(schema.graphql_schema)
