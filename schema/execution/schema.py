"""The schema as it is served: how an operation becomes a result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Iterable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any, NoReturn, TypeVar, cast

import strawberry
from graphql import ExecutionResult as CoreResult
from graphql import GraphQLError, create_source_event_stream, get_variable_values
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.execution import PreExecutionError
from strawberry.types.field import StrawberryField
from strawberry.types.graphql import OperationType

from ...core.errors import QuotaExceeded
from ..documents import Documents
from ..errors import TIMEOUT, presented
from ..extension import AddedFields
from ..limits import Limits
from ..scalars import locate_errors
from ..subscribers import Subscribers
from .executor import PlanExecutor, is_awaitable
from .inputs import build_quickly
from .plan import Planner
from .results import EventResult, MutationResult, Results, SharedResult, Sharing

T = TypeVar("T")

MAX_COERCION_ERRORS = 50
PERHAPS_DONE = " The mutation may have been executed, wholly or in part."
ALL_TYPES = frozenset(OperationType)
_REFUSALS = {
    OperationType.QUERY: "queries are not allowed",
    OperationType.MUTATION: "mutations are not allowed",
    OperationType.SUBSCRIPTION: "subscriptions are not allowed",
}


Told = dict[str, Any] | None
"""The `extensions` of a result: what a client has asked to be told besides."""


class Refused(Exception):
    """The operation is not executed; `result` says why."""

    def __init__(self, errors: Iterable[GraphQLError], told: Told = None) -> None:
        super().__init__()
        self.result = PreExecutionError(None, [presented(error) for error in errors], told)


class MissionSchema(strawberry.Schema):
    """Executes operations within `limits`, `timeout` seconds each; of a subscription, its opening
    and the result of each event have that time. `added` are the fields that plugins bring for types
    of the server; `subscribers` counts who follows what. A request with
    `extensions: {"cost": true}` is told what it costs.

    Takes Strawberry's place between a document and the resolvers. Every error of every operation
    leaves through `presented`.
    """

    def __init__(
        self,
        *,
        added: AddedFields,
        subscribers: Subscribers,
        limits: Limits,
        timeout: float,
        introspection: bool,
        **definition: Any,
    ) -> None:
        self._added = added
        self.subscribers = subscribers
        super().__init__(**definition)
        self._documents = Documents(lambda: self._schema, limits, introspection=introspection)
        self._planner = Planner(self._schema)
        locate_errors(self._schema.type_map.values())
        build_quickly(each.definition for each in self.schema_converter.type_map.values())
        self._sharing = Sharing()
        self._timeout = timeout

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        # By its name in the schema: that of `Connection[Session]` is `SessionConnection`.
        name = self.config.name_converter.from_type(type_definition)
        return [*type_definition.fields, *self._added.get(name, ())]

    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: object = None,
        root_value: object = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """The result of a query or mutation.

        Raises:
            MissingQueryError, CannotGetOperationTypeError: there is no such operation.
            InvalidOperationTypeError: it is of another type than those allowed.
        """
        try:
            executor, told = self._prepared(
                query,
                variable_values,
                context_value,
                root_value,
                operation_name,
                ALL_TYPES if allowed_operation_types is None else allowed_operation_types,
                operation_extensions,
            )
        except Refused as refused:
            return refused.result
        return await self._executed(executor, told)

    async def stream(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: object = None,
        root_value: object = None,
        operation_name: str | None = None,
        operation_extensions: dict[str, Any] | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
    ) -> AsyncGenerator[ExecutionResult, None]:
        """The results of an operation of any type: as many as a subscription has, else one."""
        return self._results(
            query,
            variable_values,
            context_value,
            root_value,
            operation_name,
            ALL_TYPES if allowed_operation_types is None else allowed_operation_types,
            operation_extensions,
        )

    def execute_sync(self, *_: object, **__: object) -> NoReturn:
        raise NotImplementedError("operations wait for storage: use execute()")

    async def _results(self, *operation: Any) -> AsyncGenerator[ExecutionResult, None]:
        try:
            executor, told = self._prepared(*operation)
        except Refused as refused:
            yield refused.result
            return
        except (MissingQueryError, CannotGetOperationTypeError, InvalidOperationTypeError) as error:
            yield _failed(_described(error))
            return
        if executor.planned.type is not OperationType.SUBSCRIPTION:
            yield await self._executed(executor, told)
            return
        user = executor.context_value.caller.user_id
        try:
            self.subscribers.enter(user)
        except QuotaExceeded as error:
            yield _failed(error, told)
            return
        try:
            async with aclosing(self._followed(executor, told)) as results:
                async for result in results:
                    yield result
        finally:
            self.subscribers.leave(user)

    async def _followed(
        self, executor: PlanExecutor, told: Told
    ) -> AsyncGenerator[ExecutionResult, None]:
        """The results of a subscription, one for each event."""
        try:
            with cancellation_failing():
                opened = create_source_event_stream(executor)
                source = await self._in_time(opened) if is_awaitable(opened) else opened
        except Exception as error:
            yield _failed(error, told)
            return
        if isinstance(source, CoreResult):
            yield PreExecutionError(None, list(map(presented, source.errors or ())), told)
            return
        try:
            async with aclosing(cast("AsyncGenerator[Any, None]", source)) as events:
                with cancellation_failing():  # of the source: one of an event is that event's
                    async for event in events:
                        yield await self._event_result(executor, event, told)
        except Exception as error:
            yield ExecutionResult(None, [presented(_wrapped(error))], told)

    async def _event_result(
        self, executor: PlanExecutor, event: object, told: Told
    ) -> ExecutionResult:
        shared = getattr(event, "results", None)
        if told is not None or not isinstance(shared, Results):
            shared = None
        elif (known := shared.get(executor.planned)) is not None:
            return known
        cursor = getattr(event, "cursor", None)
        running = executor.for_event(event)
        try:
            with cancellation_failing():
                result = running.execute_operation(False)
                if is_awaitable(result):
                    result = await self._in_time(result)
        except Exception as error:  # that of this event; the next may be quicker, or do
            return EventResult(None, [presented(_wrapped(error))], told, cursor)
        errors = [presented(error) for error in result.errors] if result.errors else None
        shown = EventResult(result.data, errors, told, cursor)
        if (
            shared is not None
            and running.plain
            and not shown.errors
            and not executor.planned.conditional
        ):
            shown = SharedResult(shown.data, None, cursor=cursor)
            self._sharing.keep(shared, executor.planned, shown)
        return shown

    def _prepared(
        self,
        query: str | None,
        variables: dict[str, Any] | None,
        context: object,
        root: object,
        name: str | None,
        allowed: Iterable[OperationType],
        extensions: dict[str, Any] | None,
    ) -> tuple[PlanExecutor, Told]:
        """Raises what `execute` does, and Refused."""
        if not query:
            raise MissingQueryError
        try:
            prepared = self._documents.prepare(query)
        except GraphQLError as error:
            raise Refused([error]) from None
        operation = prepared.operation(name)
        if operation is None:
            raise CannotGetOperationTypeError(name)
        if operation.type not in allowed:
            raise InvalidOperationTypeError(operation.type)
        variables = variables or {}
        told: Told = None
        if extensions and extensions.get("cost") is True:
            with suppress(RecursionError):  # which is what the document is refused for
                told = {"cost": self._documents.cost(prepared, operation, variables)}
        if errors := self._documents.refusal(prepared, name, variables):
            raise Refused(errors, told)
        values = get_variable_values(
            self._schema,
            operation.node.variable_definitions or (),
            variables,
            max_errors=MAX_COERCION_ERRORS,
            hide_suggestions=not self._documents.introspection,
        )
        if isinstance(values, list):
            raise Refused(values, told)
        executor = PlanExecutor(
            self._schema, self._planner, operation, values, context, root, extensions
        )
        return executor, told

    async def _executed(self, executor: PlanExecutor, told: Told) -> ExecutionResult:
        mutation = executor.planned.type is OperationType.MUTATION
        try:
            with cancellation_failing():
                result = executor.execute_operation()
                if is_awaitable(result):
                    result = await self._in_time(result, PERHAPS_DONE if mutation else "")
            shown = _shown(result, told)
        except Exception as error:  # no refusal: it has begun
            shown = ExecutionResult(None, [presented(_wrapped(error))], told)
        return MutationResult(shown.data, shown.errors, told) if mutation else shown

    async def _in_time(self, result: Awaitable[T], note: str = "") -> T:
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                return await result
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise GraphQLError(
                f"The operation took longer than {self._timeout:g} seconds and was given up.{note}",
                extensions={"code": TIMEOUT},
            ) from error


@contextmanager
def cancellation_failing() -> Iterator[None]:
    """Makes a failure of a cancellation that comes out of a resolver, which may raise one or wait
    for what somebody has cancelled. That of the task itself passes: nobody waits for its result."""
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("a resolver was cancelled, and its operation was not") from error


def _shown(result: CoreResult, told: Told) -> ExecutionResult:
    errors = [presented(error) for error in result.errors] if result.errors else None
    return ExecutionResult(result.data, errors, told)


def _failed(error: Exception, told: Told = None) -> PreExecutionError:
    return PreExecutionError(None, [presented(_wrapped(error))], told)


def _wrapped(error: Exception) -> GraphQLError:
    if isinstance(error, GraphQLError):
        return error
    return GraphQLError(str(error), original_error=error)


def _described(error: Exception) -> GraphQLError:
    """A request that names no operation, or one that may not come this way."""
    if isinstance(error, CannotGetOperationTypeError):
        return GraphQLError(error.as_http_error_reason(), original_error=error)
    if isinstance(error, InvalidOperationTypeError):
        return GraphQLError(_REFUSALS[error.operation_type], original_error=error)
    return _wrapped(error)
