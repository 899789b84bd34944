"""What to do for each field of a selection: worked out once for a document, not for each value."""

from __future__ import annotations

from typing import Any

from graphql import (
    BREAK,
    SKIP,
    DirectiveNode,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    TypeNameMetaFieldDef,
    Visitor,
    VisitorAction,
    default_field_resolver,
    visit,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, GroupedFieldSet
from graphql.language import Node
from strawberry.types.field import StrawberryField
from strawberry.types.graphql import OperationType

from .shape import BACKREF, Coerce, Shape


class Field:
    """A field of a document, selected by one or several nodes.

    `attribute` names the attribute that a plain field is read from, `constant` is the value of
    `__typename`, and `is_source` says that the field is the very event of a subscription.
    `arguments` are there where they are the same every time. `plans` say what is
    done for the fields below it, by the type of the value; they fill as values are met.
    """

    __slots__ = (
        "arguments",
        "attribute",
        "constant",
        "definition",
        "details",
        "is_source",
        "nodes",
        "parent",
        "plans",
        "resolve",
        "shape",
        "varies",
    )

    def __init__(
        self,
        parent: GraphQLObjectType,
        definition: GraphQLField,
        shape: Shape,
        details: list[FieldDetails],
    ) -> None:
        self.parent = parent
        self.definition = definition
        self.shape = shape
        self.details = details
        self.nodes = [detail.node for detail in details]
        self.resolve = definition.resolve or default_field_resolver
        self.attribute = attribute_of(definition)
        self.constant = parent.name if definition is TypeNameMetaFieldDef else None
        self.is_source = definition.subscribe is not None
        given = self.nodes[0].arguments
        self.varies = any(_varies(argument) for argument in given or ())
        self.arguments: dict[str, Any] | None = None if definition.args or given else {}
        self.plans: dict[GraphQLObjectType, Plan] = {}


Plan = list[tuple[str, str, dict[type, Coerce | None] | None, Field]]
"""The fields of one selection on one type. Each has its name in the response and, where it is a
plain leaf, its attribute and what is done with the values of that."""


class Operation:
    """One operation of a document. `root` is its plan, once it has run; one whose selections depend
    on variables (`conditional`) is planned each time."""

    def __init__(
        self,
        node: OperationDefinitionNode,
        definitions: dict[str, FragmentDefinitionNode],
        *,
        conditional: bool,
    ) -> None:
        self.node = node
        self.type = OperationType(node.operation.value)
        self.name = node.name.value if node.name else None
        self.definitions = definitions
        self.fragments = {
            name: FragmentDetails(definition) for name, definition in definitions.items()
        }
        self.conditional = conditional
        self.root: Plan | None = None


def operations(document: DocumentNode) -> tuple[Operation, ...]:
    """Those of a document, in its order; what they have in common is found out once."""
    conditional = _conditional(document)
    definitions = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    return tuple(
        Operation(node, definitions, conditional=conditional)
        for node in document.definitions
        if isinstance(node, OperationDefinitionNode)
    )


class Planner:
    """Makes plans for one schema, whose shapes all documents share."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._shapes: dict[tuple[str, str], Shape] = {}

    def plan(self, parent: GraphQLObjectType, selected: GroupedFieldSet) -> Plan:
        found: Plan = []
        for response_name, details in selected.items():
            name = details[0].node.name.value
            definition = self._schema.get_field(parent, name)
            if definition is not None:
                shape = self._shapes.get((parent.name, name))
                if shape is None:
                    shape = self._shapes[parent.name, name] = Shape(self._schema, definition.type)
                field = Field(parent, definition, shape, details)
                leaf = shape.quick if field.attribute and shape.quick else None
                found.append((response_name, field.attribute or "", leaf, field))
        return found


def attribute_of(definition: GraphQLField) -> str | None:
    """The attribute that the field reads and no more, or None when it does anything else."""
    field = definition.extensions.get(BACKREF)
    if not isinstance(field, StrawberryField) or not field.is_basic_field:
        return None
    # A field may have a class of its own, and one that may end in an error member is watched.
    plain = type(field).get_result is StrawberryField.get_result
    unwatched = getattr(definition.resolve, "__name__", "") == "_get_basic_result"
    return field.python_name if plain and unwatched and field.default_resolver is getattr else None


class _Variables(Visitor):
    """Whether there is a variable in what is visited."""

    found = False

    def enter_variable(self, *_: object) -> VisitorAction:
        self.found = True
        return BREAK


class _Conditions(Visitor):
    """Whether a variable decides what of the document is executed."""

    found = False

    def enter_directive(self, node: DirectiveNode, *_: object) -> VisitorAction:
        self.found = self.found or _varies(node)
        return SKIP


def _varies(node: Node) -> bool:
    visitor = _Variables()
    visit(node, visitor)
    return visitor.found


def _conditional(document: DocumentNode) -> bool:
    visitor = _Conditions()
    visit(document, visitor)
    return visitor.found
