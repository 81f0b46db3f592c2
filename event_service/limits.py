"""What one GraphQL document may ask for, judged before anything runs."""

from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLOutputType,
    InlineFragmentNode,
    IntValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
    ValueNode,
    get_named_type,
    is_list_type,
)

from endpoints.schema.collections import DEFAULT_LIMIT, MAX_LIMIT, MAX_NESTED

MAX_TOKENS = 2_000
MAX_COMMENTS = 200
MAX_DEPTH = 8  # fields beneath fields
MAX_ALIASES = 15
MAX_COST = 10_000  # rows that the answer may hold
INTROSPECTION = 4_000  # what one look at the schema is taken to cost: tools need one or two


@dataclass(frozen=True, slots=True)
class Weight:
    depth: int = 0
    aliases: int = 0
    cost: int = 0

    def beside(self, other: "Weight") -> "Weight":
        return Weight(max(self.depth, other.depth), self.aliases + other.aliases, self.cost + other.cost)


_LESS = {
    "depth": "Ask in two steps, by the ids of the first.",
    "number of aliases": "Send several requests.",
    "cost in rows": "Lower pagination.limit, or select fewer lists within lists.",
}


class Limits(ValidationRule):
    """Depth, aliases and cost in one walk; a fragment is weighed once, so that doubling fragments stay linear."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._fragments: dict[str, Weight] = {}

    def enter_operation_definition(self, node: OperationDefinitionNode, *_args: Any) -> None:
        root = self.context.schema.get_root_type(node.operation)
        weight = self._weigh(root, node.selection_set)
        for what, value, limit in (
            ("depth", weight.depth, MAX_DEPTH),
            ("number of aliases", weight.aliases, MAX_ALIASES),
            ("cost in rows", weight.cost, MAX_COST),
        ):
            if value > limit:
                self.report_error(
                    GraphQLError(f"The operation's {what} is {value}; at most {limit} is run. {_LESS[what]}", node)
                )

    def _weigh(self, parent: GraphQLNamedType | None, selected: SelectionSetNode | None) -> Weight:
        total = Weight()
        for node in selected.selections if selected else ():
            total = total.beside(self._weigh_one(parent, node))
        return total

    def _weigh_one(self, parent: GraphQLNamedType | None, node: SelectionNode) -> Weight:
        if isinstance(node, FragmentSpreadNode):
            return self._weigh_fragment(node.name.value)
        if isinstance(node, InlineFragmentNode):
            return self._weigh(parent, node.selection_set)  # the schema has no interfaces: the type is the same
        assert isinstance(node, FieldNode)
        return self._weigh_field(parent, node)

    def _weigh_fragment(self, name: str) -> Weight:
        if name not in self._fragments:
            self._fragments[name] = Weight()  # a cycle or an unknown name is another rule's error
            fragment = self.context.get_fragment(name)
            if fragment:
                parent = self.context.schema.get_type(fragment.type_condition.name.value)
                self._fragments[name] = self._weigh(parent, fragment.selection_set)
        return self._fragments[name]

    def _weigh_field(self, parent: GraphQLNamedType | None, node: FieldNode) -> Weight:
        aliases = 0 if node.alias is None else 1
        field = getattr(parent, "fields", {}).get(node.name.value)
        if field is None and node.name.value in ("__schema", "__type"):
            return Weight(1, aliases, INTROSPECTION)  # graphql-core's MaxIntrospectionDepthRule judges the rest
        if field is None or node.selection_set is None:
            return Weight(1, aliases)  # a leaf, or an unknown name, which is another rule's error
        beneath = self._weigh(get_named_type(field.type), node.selection_set)
        return Weight(beneath.depth + 1, beneath.aliases + aliases, _cost(field, node, beneath.cost))


def _cost(field: GraphQLField, node: FieldNode, beneath: int) -> int:
    """Return how many rows `node` may bring, if each of its own brings `beneath`."""
    if "pagination" in field.args:
        return _page_size(node) * beneath
    if node.name.value != "collectionItems" and _is_list(field.type):
        return MAX_NESTED * (1 + beneath)
    return 1 + beneath


def _is_list(type_: GraphQLOutputType) -> bool:
    return is_list_type(type_.of_type if isinstance(type_, GraphQLNonNull) else type_)


def _page_size(node: FieldNode) -> int:
    """Return the limit that stands in the query; MAX_LIMIT where it is a variable."""
    for argument in node.arguments:
        if argument.name.value == "pagination":
            if not isinstance(argument.value, ObjectValueNode):
                return MAX_LIMIT
            for member in argument.value.fields:
                if member.name.value == "limit":
                    return _bounded(member.value)
    return DEFAULT_LIMIT


def _bounded(limit: ValueNode) -> int:
    """Return what is written as a limit as far as any page goes: the list itself refuses the rest."""
    if not isinstance(limit, IntValueNode) or len(limit.value) > 9:
        return MAX_LIMIT
    return max(0, min(MAX_LIMIT, int(limit.value)))
