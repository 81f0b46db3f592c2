"""What one GraphQL document may ask for, judged before anything runs."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLOutputType,
    GraphQLSchema,
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

MAX_QUERY = 300_000  # characters; larger values travel as variables
MAX_TOKENS = 2_000
MAX_COMMENTS = 200
MAX_FRAGMENTS = 40  # spreads and inline fragments of a document: each is compared with each
MAX_REPEATS = 40  # of one field of one type in a document: likewise
MAX_DEPTH = 8  # fields beneath fields
MAX_ALIASES = 15
MAX_FIELDS = 1_000  # with fragments written out
MAX_DIGITS = 400  # of a whole number: a double has no more, and Python refuses to read 4,301
MAX_COST = 10_000  # rows that the answer may hold
INTROSPECTION = 4_000  # what one look at the schema is taken to cost: tools need one or two


@dataclass(frozen=True, slots=True)
class Weight:
    depth: int = 0
    aliases: int = 0
    cost: int = 0
    fields: int = 0

    def beside(self, other: "Weight") -> "Weight":
        return Weight(
            max(self.depth, other.depth),
            self.aliases + other.aliases,
            self.cost + other.cost,
            self.fields + other.fields,
        )


_LESS = {
    "depth": "Ask in two steps, by the ids of the first.",
    "number of aliases": "Send several requests.",
    "number of fields": "Send several requests.",
    "cost in rows": "Lower pagination.limit, or select fewer lists within lists.",
}


class Limits(ValidationRule):
    """What makes a document dear to validate, and then dear to run."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._scale = Scale(context.schema, context.get_fragment)
        self._fields: Counter[tuple[str, str]] = Counter()
        self._fragments = 0

    def enter_operation_definition(self, node: OperationDefinitionNode, *_args: Any) -> None:
        weight = self._scale.weigh(node)
        for what, value, limit in (
            ("depth", weight.depth, MAX_DEPTH),
            ("number of aliases", weight.aliases, MAX_ALIASES),
            ("number of fields", weight.fields, MAX_FIELDS),
            ("cost in rows", weight.cost, MAX_COST),
        ):
            if value > limit:
                self.report_error(
                    GraphQLError(f"The operation's {what} is {value}; at most {limit} is run. {_LESS[what]}", node)
                )

    def enter_field(self, node: FieldNode, *_args: Any) -> None:
        parent = self.context.get_parent_type()
        field = parent.name if parent else "", (node.alias or node.name).value
        self._fields[field] += 1
        if self._fields[field] > MAX_REPEATS:
            self.report_error(GraphQLError(f"A field is selected over {MAX_REPEATS} times; once is enough.", node))

    def enter_int_value(self, node: IntValueNode, *_args: Any) -> None:
        if len(node.value) > MAX_DIGITS:
            self.report_error(GraphQLError(f"A number has over {MAX_DIGITS} digits.", node))

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_args: Any) -> None:
        self._count_fragment(node)

    def enter_inline_fragment(self, node: InlineFragmentNode, *_args: Any) -> None:
        self._count_fragment(node)

    def _count_fragment(self, node: SelectionNode) -> None:
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS:
            self.report_error(GraphQLError(f"Over {MAX_FRAGMENTS} fragments are spread; merge some.", node))


class Scale:
    """Depth, aliases and cost in one walk; a fragment is weighed once, so that doubling fragments stay linear."""

    def __init__(self, schema: GraphQLSchema, fragment: Callable[[str], FragmentDefinitionNode | None]) -> None:
        self._schema = schema
        self._fragment = fragment
        self._weights: dict[str, Weight] = {}

    def weigh(self, node: OperationDefinitionNode) -> Weight:
        return self._weigh(self._schema.get_root_type(node.operation), node.selection_set)

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
        if name not in self._weights:
            self._weights[name] = Weight()  # a cycle or an unknown name is another rule's error
            fragment = self._fragment(name)
            if fragment:
                parent = self._schema.get_type(fragment.type_condition.name.value)
                self._weights[name] = self._weigh(parent, fragment.selection_set)
        return self._weights[name]

    def _weigh_field(self, parent: GraphQLNamedType | None, node: FieldNode) -> Weight:
        aliases = 0 if node.alias is None else 1
        field = getattr(parent, "fields", {}).get(node.name.value)
        if field is None and node.name.value in ("__schema", "__type"):
            return Weight(1, aliases, INTROSPECTION, 1)  # graphql-core's MaxIntrospectionDepthRule judges the rest
        if field is None or node.selection_set is None:
            return Weight(1, aliases, fields=1)  # a leaf, or an unknown name, which is another rule's error
        beneath = self._weigh(get_named_type(field.type), node.selection_set)
        cost = _cost(field, node, beneath.cost)
        return Weight(beneath.depth + 1, beneath.aliases + aliases, cost, beneath.fields + 1)


def roots_of(document: DocumentNode, operation: OperationDefinitionNode) -> int:
    """Return how many fields a valid operation has at its root, fragments written out: each is one to run."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}

    def count(node: SelectionNode) -> int:
        if isinstance(node, FragmentSpreadNode):
            return sum(map(count, fragments[node.name.value].selection_set.selections))
        if isinstance(node, InlineFragmentNode):
            return sum(map(count, node.selection_set.selections))
        return 1

    return sum(map(count, operation.selection_set.selections))


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
