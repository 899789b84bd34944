"""The executor: graphql-core's, with shortcuts for what is plain.

Most of a response is attributes of objects that the server has made itself. Those are read, coerced
and put in their place here, by plan. Whatever is not plain (a value of an unexpected class, an
error) takes the steps of graphql-core's own executor, so that the result, its order, its errors and
their paths are the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from enum import Enum
from types import NoneType
from typing import TYPE_CHECKING, Any, cast

from graphql import ExecutionResult, Executor, GraphQLError, GraphQLObjectType, GraphQLSchema
from graphql.execution.collect_fields import (
    FieldDetailsList,
    collect_fields,
    collect_subfields,
)
from graphql.execution.execute import default_field_resolver, default_type_resolver
from graphql.execution.executor import CollectedErrors
from graphql.execution.values import VariableValues, get_argument_values
from graphql.language import OperationType
from graphql.pyutils import Path, gather_with_cancel
from graphql.type import GraphQLResolveInfo
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types.cast import TYPE_CAST_ATTRIBUTE

from .plan import Field, Operation, Plan, Planner
from .shape import Shape

if TYPE_CHECKING:
    from typing_extensions import TypeIs

is_awaitable = cast("Callable[[object], TypeIs[Awaitable[Any]]]", optimized_is_awaitable)

_UNCHANGING = (str, int, float, NoneType, Enum)
_UNKNOWN: Any = object()


class PlanExecutor(Executor[None]):
    """Executes one operation. `variables` are coerced already.

    `plain` is True for as long as nothing but the root value and the selection has had a say in
    the result.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        planner: Planner,
        planned: Operation,
        variables: VariableValues,
        context: object,
        root: object = None,
        extensions: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            schema,
            planned.definitions,
            planned.fragments,
            root,
            context,
            planned.node,
            variables,
            default_field_resolver,
            cast(Any, default_type_resolver),
            default_field_resolver,
            is_awaitable=cast(Any, is_awaitable),
        )
        self.operation_extensions = extensions
        self.plain = True
        self._planner = planner
        self.planned = planned
        self._given: dict[Field, dict[str, Any]] = {}
        self._unplain: dict[int, Field] = {}
        self._root: Plan | None = None

    def for_event(self, event: object) -> PlanExecutor:
        """The executor of one event of a subscription."""
        self._root = self._root_plan()  # its variables are the same for every event
        executor = copy(self)
        executor.root_value = event
        executor.collected_errors = CollectedErrors()
        executor.plain = True
        return executor

    def execute_operation(
        self, serially: bool | None = None
    ) -> ExecutionResult | Awaitable[ExecutionResult]:
        kind = self.operation.operation
        if serially is None:
            serially = kind is OperationType.MUTATION
        try:
            plan = self._root_plan()
            data = (
                self._one_by_one(plan, self.root_value)
                if serially
                else self._fields(plan, self.root_value, None)
            )
        except GraphQLError as error:
            self.collected_errors.add(error, None)
            return self.build_response(None)
        return self._response(data) if is_awaitable(data) else self.build_response(data)

    async def _response(self, data: Awaitable[dict[str, Any]]) -> ExecutionResult:
        try:
            return self.build_response(await data)
        except GraphQLError as error:
            self.collected_errors.add(error, None)
            return self.build_response(None)

    def build_response(self, data: dict[str, Any] | None) -> ExecutionResult:
        return ExecutionResult(data, self.collected_errors.errors or None)

    async def _one_by_one(self, plan: Plan, source: object) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for name, _, _, field in plan:
            value = self._field(field, source, Path(None, name, field.parent.name))
            results[name] = await value if is_awaitable(value) else value
        return results

    def _fields(
        self, plan: Plan, source: object, path: Path | None
    ) -> dict[str, Any] | Awaitable[dict[str, Any]]:
        """The fields of one object."""
        results: dict[str, Any] = {}
        pending: list[str] = []
        try:
            for name, attribute, leaf, field in plan:
                if leaf is not None:
                    try:
                        value = getattr(source, attribute)
                        coerce = leaf.get(type(value), _UNKNOWN)
                        if coerce is None:
                            results[name] = value
                            continue
                        if coerce is not _UNKNOWN:
                            results[name] = coerce(value)
                            continue
                    except Exception as error:
                        place = Path(path, name, field.parent.name)
                        self.handle_field_error(error, field.shape.type, field.details, place)
                        results[name] = None
                        continue
                result = self._field(field, source, Path(path, name, field.parent.name))
                results[name] = result
                if is_awaitable(result):
                    pending.append(name)
        except Exception:
            if pending:
                self.settle_in_background([results[name] for name in pending])
            raise
        return self._gathered(results, pending) if pending else results

    def _field(self, field: Field, source: object, path: Path) -> Any:
        """The field's completed value, or an awaitable of it."""
        if field.constant is not None:
            return field.constant
        shape = field.shape
        try:
            if field.attribute is not None:
                value = getattr(source, field.attribute)
            elif field.is_source:
                value = source
            else:
                self.plain = False
                value = field.resolve(source, self._info(field, path), **self._arguments(field))
                if is_awaitable(value):
                    return self._awaited(field, path, value)
            if type(value) not in shape.usual and is_awaitable(value):
                return self._awaited(field, path, value)
            completed = self._complete(shape, field, path, value)
            if is_awaitable(completed):
                return self._settled(shape, field, path, completed)
        except Exception as error:
            self.handle_field_error(error, shape.type, field.details, path)
            return None
        return completed

    def _complete(self, shape: Shape, field: Field, path: Path, value: Any) -> Any:
        """A value that is not awaitable, made into what is sent, or an awaitable of that."""
        kind = type(value)
        if value is None:
            if not shape.non_null:
                return None
        elif kind in shape.objects:
            if getattr(value, TYPE_CAST_ATTRIBUTE, None) is None:
                return self._fields(self._plan(shape.objects[kind], field), value, path)
        elif shape.item is not None:
            if kind is list or kind is tuple:
                kinds = set(map(type, value))
                if kinds <= shape.item.as_they_are:
                    return list(value)
                if kinds <= shape.item.usual:
                    return self._items(shape.item, field, path, value)
        else:
            coerce = shape.quick.get(kind, _UNKNOWN)
            if coerce is None:
                return value
            if coerce is not _UNKNOWN:
                return coerce(value)
        # Not plain, or not good: graphql-core finds out what it is.
        self.plain = False
        self._unplain[id(field.details)] = field
        info = self._info(field, path)
        return self.complete_value(shape.type, field.details, info, path, value, None)

    def _items(
        self, shape: Shape, field: Field, path: Path, values: Sequence[Any]
    ) -> list[Any] | Awaitable[list[Any]]:
        """The items of a list, none of them awaitable."""
        results: list[Any] = []
        pending: list[int] = []
        try:
            for index, value in enumerate(values):
                place = Path(path, index, None)
                try:
                    completed = self._complete(shape, field, place, value)
                    if is_awaitable(completed):
                        completed = self._settled(shape, field, place, completed)
                        pending.append(index)
                except Exception as error:
                    self.handle_field_error(error, shape.type, field.details, place)
                    completed = None
                results.append(completed)
        except Exception:
            if pending:
                self.settle_in_background([results[index] for index in pending])
            raise
        return self._gathered(results, pending) if pending else results

    async def _awaited(self, field: Field, path: Path, awaitable: Awaitable[Any]) -> Any:
        shape = field.shape
        try:
            completed = self._complete(shape, field, path, await awaitable)
            return await completed if is_awaitable(completed) else completed
        except Exception as error:
            self.handle_field_error(error, shape.type, field.details, path)
            return None

    async def _settled(
        self, shape: Shape, field: Field, path: Path, completed: Awaitable[Any]
    ) -> Any:
        try:
            return await completed
        except Exception as error:
            self.handle_field_error(error, shape.type, field.details, path)
            return None

    async def _gathered(self, results: Any, pending: Sequence[Any]) -> Any:
        """The results, once those that are pending are there, too."""
        if len(pending) == 1:
            results[pending[0]] = await results[pending[0]]
        else:
            values = await gather_with_cancel(*(results[key] for key in pending))
            for key, value in zip(pending, values, strict=True):
                results[key] = value
        return results

    def collect_and_execute_subfields(
        self,
        return_type: GraphQLObjectType,
        field_details_list: FieldDetailsList,
        path: Path,
        result: Any,
        position_context: None,  # noqa: ARG002
    ) -> dict[str, Any] | Awaitable[dict[str, Any]]:
        """Back from the long way, at an object."""
        field = self._unplain[id(field_details_list)]
        return self._fields(self._plan(return_type, field), result, path)

    def _info(self, field: Field, path: Path) -> GraphQLResolveInfo[Any]:
        """What Strawberry's resolvers expect to be told."""
        return StrawberryGraphQLCoreExecutionContext.build_resolve_info(
            cast("StrawberryGraphQLCoreExecutionContext", self),
            field.definition,
            field.nodes,
            field.parent,
            path,
        )

    def _arguments(self, field: Field) -> dict[str, Any]:
        given = field.arguments if field.arguments is not None else self._given.get(field)
        if given is None:
            given = get_argument_values(field.definition, field.nodes[0], self.variable_values)
            # What a resolver could change is made anew for each.
            if all(isinstance(value, _UNCHANGING) for value in given.values()):
                if field.varies:
                    self._given[field] = given
                else:
                    field.arguments = given
        return given

    def _plan(self, parent: GraphQLObjectType, field: Field) -> Plan:
        plan = field.plans.get(parent)
        if plan is None:
            selected = collect_subfields(
                self.schema,
                self.fragments,
                self.variable_values,
                self.operation,
                parent,
                field.details,
            ).grouped_field_set
            plan = field.plans[parent] = self._planner.plan(parent, selected)
        return plan

    def _root_plan(self) -> Plan:
        plan = self._root or self.planned.root
        if plan is None:
            kind = self.schema.get_root_type(self.operation.operation)
            assert kind is not None  # validation has seen to it
            selected = collect_fields(
                self.schema, self.fragments, self.variable_values, kind, self.operation
            ).grouped_field_set
            plan = self._planner.plan(kind, selected)
            if not self.planned.conditional:
                self.planned.root = plan
        return plan
