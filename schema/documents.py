"""From a query's text to a document that may be executed: parsed, bounded, validated, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationType,
    parse,
    recommended_rules,
    specified_rules,
    validate,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule
from strawberry.types.execution import ParseOptions

from ..core.errors import QuotaExceeded
from .errors import TIMEOUT, TOO_LARGE
from .limits import Limits, chosen, excess, measure, operations, overlong_number, report
from .subscribers import Subscribers
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
    """A parsed document and what is wrong with it. `variable`: its cost depends on variables;
    `subscribes`: one of its operations is a subscription."""

    document: DocumentNode
    errors: tuple[GraphQLError, ...]
    variable: bool
    operations: int
    subscribes: bool


class Documents:
    """The documents of one schema, by text: the same few are sent again and again."""

    def __init__(
        self, schema: Callable[[], GraphQLSchema], limits: Limits, *, introspection: bool = True
    ) -> None:
        self._schema = schema
        self._introspection = introspection
        self._rules = RULES if introspection else (*RULES, NoSchemaIntrospectionCustomRule)
        self.limits = limits
        self.parse_options = {
            "max_lexical_tokens": limits.tokens,
            "max_source_length": limits.length,
        }
        self.prepare = lru_cache(maxsize=CACHED)(self._prepare)

    def _prepare(self, text: str) -> Prepared:
        """Raises GraphQLError when the text is no document."""
        document = parse(text, **cast("Any", self.parse_options))
        found = operations(document)
        subscribes = any(each.operation is OperationType.SUBSCRIPTION for each in found)
        variable, errors = self._examine(document, len(found))
        return Prepared(document, tuple(errors), variable, len(found), subscribes)

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
        try:
            size = measure(self._schema(), document)
            errors = excess(size, self.limits)
            return size.variable, errors or validate(
                self._schema(), document, self._rules, hide_suggestions=not self._introspection
            )
        except RecursionError:
            return False, [_too_large("The document's fragments are nested too deeply.")]

    def too_costly(self, prepared: Prepared, variables: dict[str, Any]) -> list[GraphQLError]:
        """What the limits say now that the variables are known."""
        if not prepared.variable:
            return []
        return excess(measure(self._schema(), prepared.document, variables), self.limits)


class PrepareDocument(SchemaExtension):
    """Takes parsing and validation over, ends operations that take too long, and counts
    subscriptions. A request with `extensions: {"cost": true}` is told what it costs."""

    def __init__(self, documents: Documents, subscribers: Subscribers, timeout: float) -> None:
        self._documents = documents
        self._subscribers = subscribers
        self._timeout = timeout

    def on_operation(self) -> Iterator[None]:
        context = self.execution_context
        # What is set here, Strawberry does not do again. It does parse what could not be parsed,
        # within these same limits, and reports that as the client's error; raised in here, it
        # would pass for one of the server.
        context.parse_options = cast("ParseOptions", self._documents.parse_options)
        subscriber: str | None = None
        with suppress(GraphQLError):
            prepared = self._documents.prepare(context.query or "")
            context.graphql_document = prepared.document
            errors = context.pre_execution_errors = self._errors(prepared)
            if (context.operation_extensions or {}).get("cost") is True:
                self._tell_cost(prepared)
            if prepared.subscribes and not errors and self._is_subscription(prepared):
                subscriber = self._seated(errors)
        try:
            yield
        finally:
            if subscriber is not None:
                self._subscribers.leave(subscriber)

    def _is_subscription(self, prepared: Prepared) -> bool:
        name = self.execution_context._provided_operation_name
        operation = chosen(prepared.document, name)
        return operation is not None and operation.operation is OperationType.SUBSCRIPTION

    def _seated(self, errors: list[GraphQLError]) -> str | None:
        """The user who has one subscription more now; None, and an error, where it is too many."""
        user: str = self.execution_context.context.caller.user_id
        try:
            self._subscribers.enter(user)
        except QuotaExceeded as error:
            errors.append(GraphQLError(error.message, original_error=error))
            return None
        return user

    def _tell_cost(self, prepared: Prepared) -> None:
        context = self.execution_context
        context.extensions_results["cost"] = report(
            context.schema._schema,
            prepared.document,
            context.variables or {},
            context._provided_operation_name,
            self._documents.limits,
        )

    def _errors(self, prepared: Prepared) -> list[GraphQLError]:
        context = self.execution_context
        if prepared.errors:
            return list(prepared.errors)
        if prepared.operations > 1 and not context._provided_operation_name:
            return [GraphQLError("The document has several operations: send `operationName`.")]
        if context.variables and (error := oversize(context.variables, VARIABLES)):
            return [error]
        return self._documents.too_costly(prepared, context.variables or {})

    async def on_execute(self) -> AsyncIterator[None]:
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                yield
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise GraphQLError(
                f"The operation took longer than {self._timeout:g} seconds and was given up.",
                extensions={"code": TIMEOUT},
            ) from error


def _too_large(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": TOO_LARGE})
