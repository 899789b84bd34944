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
    OperationDefinitionNode,
    parse,
    recommended_rules,
    specified_rules,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import validate_document
from strawberry.types.execution import ParseOptions

from .errors import TIMEOUT, TOO_LARGE
from .limits import Limits, excess, measure, overlong_number

CACHED = 128
"""Documents kept. The largest that the limits allow takes about a megabyte."""

RULES = (*specified_rules, *recommended_rules)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A parsed document and what is wrong with it. `variable`: its cost depends on variables."""

    document: DocumentNode
    errors: tuple[GraphQLError, ...]
    variable: bool
    operations: int


class Documents:
    """The documents of one schema, by text: the same few are sent again and again."""

    def __init__(self, schema: Callable[[], GraphQLSchema], limits: Limits) -> None:
        self._schema = schema
        self.limits = limits
        self.parse_options = {
            "max_lexical_tokens": limits.tokens,
            "max_source_length": limits.length,
        }
        self.prepare = lru_cache(maxsize=CACHED)(self._prepare)

    def _prepare(self, text: str) -> Prepared:
        """Raises GraphQLError when the text is no document."""
        document = parse(text, **cast("Any", self.parse_options))
        operations = sum(isinstance(d, OperationDefinitionNode) for d in document.definitions)
        if number := overlong_number(document):
            return Prepared(document, (number,), False, operations)
        try:
            size = measure(self._schema(), document)
            errors = excess(size, self.limits) or validate_document(self._schema(), document, RULES)
        except RecursionError:
            error = GraphQLError(
                "The document's fragments are nested too deeply.", extensions={"code": TOO_LARGE}
            )
            return Prepared(document, (error,), False, operations)
        return Prepared(document, tuple(errors), size.variable, operations)

    def too_costly(self, prepared: Prepared, variables: dict[str, Any]) -> list[GraphQLError]:
        """What the limits say now that the variables are known."""
        if not prepared.variable:
            return []
        return excess(measure(self._schema(), prepared.document, variables), self.limits)


class PrepareDocument(SchemaExtension):
    """Takes parsing and validation over, and ends operations that take too long."""

    def __init__(self, documents: Documents, timeout: float) -> None:
        self._documents = documents
        self._timeout = timeout

    def on_operation(self) -> Iterator[None]:
        context = self.execution_context
        # What is set here, Strawberry does not do again. It does parse what could not be parsed,
        # within these same limits, and reports that as the client's error; raised in here, it
        # would pass for one of the server.
        context.parse_options = cast("ParseOptions", self._documents.parse_options)
        with suppress(GraphQLError):
            prepared = self._documents.prepare(context.query or "")
            context.graphql_document = prepared.document
            context.pre_execution_errors = self._errors(prepared)
        yield

    def _errors(self, prepared: Prepared) -> list[GraphQLError]:
        context = self.execution_context
        if prepared.errors:
            return list(prepared.errors)
        if prepared.operations > 1 and not context._provided_operation_name:
            return [GraphQLError("The document has several operations: send `operationName`.")]
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
