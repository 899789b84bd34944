"""From a query's text to a document that may be executed: parsed, bounded, validated, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    parse,
    recommended_rules,
    specified_rules,
    validate,
)
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from .errors import TOO_LARGE
from .execution.plan import Operation, operations
from .limits import Limits, excess, measure, overlong_number, repeated_fragment, report
from .variables import VariableLimits, oversize

CACHED = 128
"""Documents kept. The largest that the limits allow takes about a megabyte."""

VARIABLES = VariableLimits()

RULES = (
    *specified_rules,
    *recommended_rules,
    MaybeNullValidationRule,
    OneOfInputValidationRule,
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A parsed document and what is wrong with it. `variable`: its cost depends on variables."""

    document: DocumentNode
    errors: tuple[GraphQLError, ...]
    variable: bool
    operations: tuple[Operation, ...]

    def operation(self, name: str | None) -> Operation | None:
        """The operation of this name; without a name, the first."""
        for operation in self.operations:
            if not name or operation.name == name:
                return operation
        return None


class Documents:
    """The documents of one schema, by text: the same few are sent again and again."""

    def __init__(
        self, schema: Callable[[], GraphQLSchema], limits: Limits, *, introspection: bool = True
    ) -> None:
        self._schema = schema
        self.introspection = introspection
        self._rules = RULES if introspection else (*RULES, NoSchemaIntrospectionCustomRule)
        self.limits = limits
        self.prepare = lru_cache(maxsize=CACHED)(self._prepare)

    def _prepare(self, text: str) -> Prepared:
        """Raises GraphQLError when the text is no document."""
        document = parse(
            text, max_lexical_tokens=self.limits.tokens, max_source_length=self.limits.length
        )
        found = operations(document)
        variable, errors = self._examine(document, len(found))
        return Prepared(document, tuple(errors), variable, found)

    def _examine(self, document: DocumentNode, count: int) -> tuple[bool, list[GraphQLError]]:
        """Whether its cost depends on variables, and what is wrong with it."""
        if number := overlong_number(document):
            return False, [number]
        if count > self.limits.operations:
            return False, [
                _too_large(
                    f"The document has {count} operations; the most is {self.limits.operations}."
                    " Send those that belong to another task in a document of their own."
                )
            ]
        if repeated := repeated_fragment(document):
            return False, [repeated]
        try:
            size = measure(self._schema(), document)
            errors = excess(self._schema(), size, self.limits)
            return size.variable, errors or validate(
                self._schema(), document, self._rules, hide_suggestions=not self.introspection
            )
        except RecursionError:
            return False, [_too_large("The document's fragments are nested too deeply.")]

    def refusal(
        self, prepared: Prepared, name: str | None, variables: dict[str, Any]
    ) -> list[GraphQLError]:
        """Why the document may not be executed, now that name and variables are known."""
        if prepared.errors:
            return list(prepared.errors)
        if len(prepared.operations) > 1 and not name:
            return [GraphQLError("The document has several operations: send `operationName`.")]
        if variables and (error := oversize(variables, VARIABLES)):
            return [error]
        if not prepared.variable:
            return []
        schema = self._schema()
        return excess(schema, measure(schema, prepared.document, variables), self.limits)

    def cost(
        self, prepared: Prepared, operation: Operation, variables: dict[str, Any]
    ) -> dict[str, Any]:
        """What a client that asks is told of the size of the operation that it has chosen."""
        return report(self._schema(), prepared.document, operation.node, variables, self.limits)


def _too_large(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": TOO_LARGE})
