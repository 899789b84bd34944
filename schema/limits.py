"""How large a document may be, measured in one walk that visits each fragment once.

Runs before validation: some of the standard rules take time quadratic in the number of fields,
so a document must be known to be small before they see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLError,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NameNode,
    NullValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Token,
    TokenKind,
    VariableNode,
    get_named_type,
    is_composite_type,
    parse,
    type_from_ast,
)
from strawberry import relay

from ..core.memory.working import MAX_KEYS
from ..core.tower.inbox import LONGEST
from ..core.tower.model_usage import MOST as MODELS
from .arguments import MAX_PAGE, PAGE
from .errors import TOO_LARGE
from .execution.shape import definition_of
from .introspection import listed, whole_schema
from .pagination import Connection

UNPAGED = 10
"""Assumed length of a list that takes no `first`."""

LENGTHS = {
    "Inbox.waiting": LONGEST,
    "Inbox.added": LONGEST,
    "Inbox.gone": LONGEST,
    "Query.memory": MAX_KEYS,
    "Query.systemModelUsage": MODELS,
    "Session.workingState": MAX_KEYS,
    "Viewer.modelUsage": MODELS,
}
"""The most that a list holds which takes no `first` and may be long."""

WEIGHTS = {
    "Event.payload": 10,
    "Interrupt.data": 10,
    "Message.content": 10,
    "Message.data": 10,
    "Message.originalContent": 10,
    "Mutation.exportSession": 10_000,
    "Process.reply": 10,
    "Process.text": 10,
    "Prompt.text": 10,
    "Tool.parameters": 10,
    "WorkingState.value": 50,
}
"""For how many fields one counts that may hold thousands of characters; of files, a few fit."""

INTROSPECTIONS = 2
"""How many times what tools ask for to learn the whole schema one operation may ask for."""

LONGEST_NUMBER = {TokenKind.INT: 20, TokenKind.FLOAT: 40}
"""In characters: any 64-bit number fits. Python refuses to convert integers of thousands."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest document that is executed.

    `length` is in characters, `depth` in nested fields, `fields` counts selections with fragments
    expanded, `cost` estimates the fields of the response: selections times page sizes.
    `operations` counts those of a document, of which one is run and all are validated.
    """

    length: int = 65_536
    tokens: int = 2_000
    operations: int = 50
    depth: int = 20
    aliases: int = 50
    fields: int = 500
    cost: int = 50_000


@dataclass(frozen=True, slots=True)
class Size:
    """What a selection amounts to. `introspected` is the cost of what it asks of the schema, which
    counts by itself. `variable`: some page size in it is a variable."""

    depth: int = 0
    aliases: int = 0
    fields: int = 0
    cost: int = 0
    introspected: float = 0
    variable: bool = False

    def beside(self, other: Size) -> Size:
        return Size(
            max(self.depth, other.depth),
            self.aliases + other.aliases,
            self.fields + other.fields,
            self.cost + other.cost,
            self.introspected + other.introspected,
            self.variable or other.variable,
        )


def measure(
    schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any] | None = None
) -> Size:
    """The largest of the document's operations, and of the fragments that none of them spreads:
    those are not run, but validated. Without `variables`, a page size that is a variable counts
    as 1: the least that it can turn out to be."""
    walk = _Walk(schema, document, variables)
    sizes = [
        walk.operation(definition)
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
    ]
    sizes += walk.unused()
    return Size(
        max((size.depth for size in sizes), default=0),
        max((size.aliases for size in sizes), default=0),
        max((size.fields for size in sizes), default=0),
        max((size.cost for size in sizes), default=0),
        max((size.introspected for size in sizes), default=0),
        any(size.variable for size in sizes),
    )


def report(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
    limits: Limits,
) -> dict[str, Any]:
    """What a client that asks is told of the size of an operation of the document."""
    size = _Walk(schema, document, variables).operation(operation)
    names = ("cost", "depth", "aliases", "fields")
    return {each: getattr(size, each) for each in names} | {
        "limits": {each: getattr(limits, each) for each in names}
    }


@lru_cache(maxsize=4)
def most_introspected(schema: GraphQLSchema) -> float:
    """How much of itself a schema tells at once: it grows with what plugins add to it."""
    return INTROSPECTIONS * measure(schema, parse(whole_schema())).introspected


def excess(schema: GraphQLSchema, size: Size, limits: Limits) -> list[GraphQLError]:
    """One error for each limit that `size` is above."""
    checks = {
        "levels of nesting": (size.depth, limits.depth),
        "aliases": (size.aliases, limits.aliases),
        "selected fields": (size.fields, limits.fields),
        "fields in the response (selected fields times page sizes)": (size.cost, limits.cost),
        "fields of introspection in the response": (
            round(size.introspected),
            round(most_introspected(schema)),
        ),
    }
    return [
        GraphQLError(
            f"The operation has {found} {what}; the most is {most}. Ask for less at once.",
            extensions={"code": TOO_LARGE},
        )
        for what, (found, most) in checks.items()
        if found > most
    ]


def overlong_number(document: DocumentNode) -> GraphQLError | None:
    """What to say of the first number in the document that is longer than any that is meant."""
    for token in _tokens(document):
        longest = LONGEST_NUMBER.get(token.kind)
        found = token.end - token.start
        if longest is not None and found > longest:
            return GraphQLError(
                f"A number of {found} characters; the most for {token.kind.value} is {longest}."
                " Send a shorter one, or a string.",
                source=document.loc.source if document.loc else None,
                positions=[token.start],
            )
    return None


def repeated_fragment(document: DocumentNode) -> GraphQLError | None:
    """What to say of the first fragment with the name of another, as validation would: validation
    looks into each of them, and only one of a name is measured."""
    known: dict[str, NameNode] = {}
    for definition in document.definitions:
        if isinstance(definition, FragmentDefinitionNode):
            name = definition.name
            if name.value in known:
                return GraphQLError(
                    f"There can be only one fragment named '{name.value}'.",
                    [known[name.value], name],
                )
            known[name.value] = name
    return None


def _tokens(document: DocumentNode) -> Iterator[Token]:
    token = document.loc.start_token if document.loc else None
    while token is not None:
        yield token
        token = token.next


class _Walk:
    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any] | None
    ) -> None:
        self._schema = schema
        self._variables = variables
        self._defaults: dict[str, Any] = {}
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._measured: dict[tuple[str, bool], Size] = {}
        self._used: set[str] = set()

    def operation(self, node: OperationDefinitionNode) -> Size:
        self._measured.clear()  # page sizes depend on the operation's variables
        self._defaults = {
            definition.variable.name.value: definition.default_value
            for definition in node.variable_definitions or ()
        }
        return self._selections(node.selection_set, self._schema.get_root_type(node.operation))

    def unused(self) -> list[Size]:
        """The sizes of the fragments that no operation so far has spread."""
        self._measured.clear()
        self._defaults = {}
        return [self._fragment(name) for name in self._fragments.keys() - self._used]

    def _selections(
        self, node: SelectionSetNode, parent: GraphQLCompositeType | None, of_all: bool = False
    ) -> Size:
        """`of_all`: they are made of each type of the schema in turn."""
        size = Size()
        for selection in node.selections:
            match selection:
                case FieldNode():
                    size = size.beside(self._field(selection, parent, of_all))
                case FragmentSpreadNode():
                    size = size.beside(self._fragment(selection.name.value, of_all))
                case InlineFragmentNode():
                    inner = self._condition(selection) or parent
                    size = size.beside(self._selections(selection.selection_set, inner, of_all))
        return size

    def _fragment(self, name: str, of_all: bool = False) -> Size:
        key = name, of_all
        if key not in self._measured:
            self._used.add(name)
            self._measured[key] = Size()  # a cycle ends here; validation refuses it by name
            fragment = self._fragments.get(name)
            if fragment is not None:
                parent = self._condition(fragment)
                self._measured[key] = self._selections(fragment.selection_set, parent, of_all)
        return self._measured[key]

    def _condition(
        self, node: FragmentDefinitionNode | InlineFragmentNode
    ) -> GraphQLCompositeType | None:
        found = type_from_ast(self._schema, node.type_condition) if node.type_condition else None
        return found if is_composite_type(found) else None

    def _field(self, node: FieldNode, parent: GraphQLCompositeType | None, of_all: bool) -> Size:
        field = self._schema.get_field(parent, node.name.value) if parent else None
        type_ = get_named_type(field.type) if field else None
        inside = type_ if is_composite_type(type_) else None
        if field is not None and inside is not None and inside.name.startswith("__"):
            return self._introspected(node, field, inside, of_all)
        inner = Size()
        if node.selection_set is not None:
            inner = self._selections(node.selection_set, inside)
        length, variable = self._length(node, field, parent)
        return Size(
            inner.depth + 1,
            inner.aliases + (node.alias is not None),
            inner.fields + 1,
            inner.cost * length + _of(WEIGHTS, parent, node, 1),
            inner.introspected + (parent is not None and parent.name.startswith("__")),
            inner.variable or variable,
        )

    def _introspected(
        self, node: FieldNode, field: GraphQLField, inside: GraphQLCompositeType, of_all: bool
    ) -> Size:
        name = node.name.value
        # A type that a field or another type leads to may be the largest for each of them.
        of_each = name == "types" or (of_all and _is_list(field) and inside.name != "__Type")
        inner = Size()
        if node.selection_set is not None:
            inner = self._selections(node.selection_set, inside, of_each)
        return Size(
            inner.depth + 1,
            inner.aliases + (node.alias is not None),
            inner.fields + 1,
            inner.cost + 1,
            inner.introspected * listed(self._schema).length(name, of_all) + 1,
        )

    def _length(
        self, node: FieldNode, field: GraphQLField | None, parent: GraphQLCompositeType | None
    ) -> tuple[int, bool]:
        """How many times the selections below a field are resolved, and if a variable says so."""
        if field is None or parent is None:
            return 1, False
        if "first" in field.args:
            given = [a.value for a in node.arguments or () if a.name.value in ("first", "last")]
            sizes = [size for size in map(self._number, given) if size is not None]
            default = field.args["first"].default_value
            fallback = default if isinstance(default, int) else PAGE
            variable = any(isinstance(value, VariableNode) for value in given)
            return max(sizes, default=fallback), variable
        if "ids" in field.args:
            given = [a.value for a in node.arguments or () if a.name.value == "ids"]
            return self._listed(given[0] if given else None), True
        usual = UNPAGED if _is_list(field) and not _is_page(parent) else 1
        return _of(LENGTHS, parent, node, usual), False

    def _number(self, value: Any) -> int | None:
        """A page size; None where it is null, which leaves it to the other one or the default."""
        if isinstance(value, VariableNode):
            if self._variables is None:
                return 1
            name = value.name.value
            value = self._variables.get(name, self._defaults.get(name))
        if value is None or isinstance(value, NullValueNode):
            return None
        if isinstance(value, IntValueNode):
            value = int(value.value[:6])
        # Anything else is refused when the argument itself is looked at.
        return min(max(value, 1), MAX_PAGE) if isinstance(value, int) else MAX_PAGE

    def _listed(self, value: Any) -> int:
        """The length of a list that is given; what is longer than any is refused elsewhere."""
        if isinstance(value, VariableNode) and self._variables is not None:
            value = self._variables.get(value.name.value, self._defaults.get(value.name.value))
        if isinstance(value, ListValueNode):
            value = value.values
        return max(len(value), 1) if isinstance(value, list | tuple) else 1


def _of(
    known: Mapping[str, int], parent: GraphQLCompositeType | None, node: FieldNode, usual: int
) -> int:
    return known.get(f"{parent.name}.{node.name.value}", usual) if parent else usual


def _is_page(type_: GraphQLCompositeType) -> bool:
    """Whether its lists have the length that the `first` of the field above gave already. Whatever
    the type is called: plugins name their own."""
    definition = definition_of(type_)
    kinds = [definition, definition.concrete_of] if definition else []
    return any(kind and issubclass(kind.origin, (Connection, relay.Connection)) for kind in kinds)


def _is_list(field: GraphQLField) -> bool:
    type_ = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
    return isinstance(type_, GraphQLList)
