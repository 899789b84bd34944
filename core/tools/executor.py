"""The default `ToolExecutor`: validates, bounds and reports one call of a tool."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import structlog

from ..errors import Busy, InvalidInput, MissionError
from .arguments import Arguments
from .breakers import Breakers
from .call import calling
from .spec import ToolRegistry, ToolResult, ToolSpec, ToolStatus
from .threads import Overrun, ThreadPool

T = TypeVar("T")
Recorder = Callable[[ToolResult], Awaitable[None]]

MAX_ERROR_TEXT = 500
"""Characters shown of a tool's own exception."""
MAX_CHOICES = 20
"""Tools listed when an unknown one is asked for."""
RECORD_SECONDS = 5.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class CatalogExecutor:
    """Runs the tools of any `ToolRegistry`; sync functions run in `threads`.

    `recorder` is given the result of each call made outside a process (one with no idempotency
    key: the others are journaled) before it is returned, unless the call was cancelled. When it
    fails or takes longer than `RECORD_SECONDS`, that is logged and the result stands. `breakers`
    may refuse a call, which then fails at once.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        threads: ThreadPool,
        *,
        recorder: Recorder | None = None,
        breakers: Breakers | None = None,
    ) -> None:
        self._registry = registry
        self._threads = threads
        self._breakers = breakers or Breakers()
        self._recorder = recorder
        self._arguments: dict[str, tuple[Callable[..., Any], Arguments]] = {}

    async def execute(
        self, name: str, arguments: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> ToolResult:
        """Run one tool. Its own failure does not raise: the result's status says it.

        Cancelling raises at once; a sync function that is running is then abandoned.
        """
        started = time.perf_counter()
        status, value, error = await self._guarded(name, arguments, idempotency_key)
        foreign = isinstance(error, _Foreign)
        result = ToolResult(name, status, value, error, time.perf_counter() - started, foreign)
        if idempotency_key is None:
            await self._record(result)
        return result

    async def _guarded(
        self, name: str, given: Mapping[str, Any], key: str | None
    ) -> tuple[ToolStatus, Any, str | None]:
        refusal = self._breakers.refusal(name)
        if refusal is not None:
            self._breakers.refused(name)
            return ToolStatus.UNAVAILABLE, None, refusal
        entered = self._breakers.enter(name)
        status = ToolStatus.CANCELLED
        try:
            status, value, error = await self._outcome(name, given, key)
        finally:
            self._breakers.leave(name, entered, status)
        return status, value, error

    async def _outcome(
        self, name: str, given: Mapping[str, Any], key: str | None
    ) -> tuple[ToolStatus, Any, str | None]:
        spec = self._registry.get(name)
        if spec is None:
            return ToolStatus.NOT_FOUND, None, self._unknown(name)
        try:
            arguments = self._arguments_of(spec)
            try:
                checked = arguments.parse(given)
            except InvalidInput as error:
                return ToolStatus.INVALID_ARGUMENTS, None, error.message
            with calling(key):
                return ToolStatus.SUCCESS, await self._call(spec, checked), None
        except Overrun:
            _log.warning("tool.timeout", tool=name, seconds=spec.timeout)
            return ToolStatus.TIMEOUT, None, f"no answer within {spec.timeout:g} s"
        except Busy as error:
            return ToolStatus.BUSY, None, _text(error)
        except MissionError as error:
            return ToolStatus.ERROR, None, _text(error)
        except asyncio.CancelledError:
            if _caller_cancelled():
                raise
            _log.warning("tool.cancelled", tool=name, exc_info=True)
            return ToolStatus.CANCELLED, None, "what the tool was waiting for was cancelled"
        except (Exception, SystemExit) as error:
            # SystemExit: a command-line library inside a tool must not stop the server.
            _log.error("tool.failed", tool=name, exc_info=True)
            text = f"{type(error).__name__}: {_text(error)}"
            return ToolStatus.ERROR, None, _Foreign(text[:MAX_ERROR_TEXT])

    async def _call(self, spec: ToolSpec, arguments: dict[str, Any]) -> Any:
        deadline = asyncio.get_running_loop().time() + spec.timeout
        if inspect.iscoroutinefunction(spec.function):
            return await _until(deadline, spec.function(**arguments))
        call = functools.partial(spec.function, **arguments)
        value = await self._threads.run(call, timeout=spec.timeout)
        # What is not an async function may still return a coroutine: a lambda, a decorator around
        # an async function, an object whose __call__ is async.
        return await _until(deadline, value) if inspect.isawaitable(value) else value

    def _arguments_of(self, spec: ToolSpec) -> Arguments:
        """Building a validator costs about a millisecond: once per function, not per call."""
        known = self._arguments.get(spec.name)
        if known is None or known[0] != spec.function:
            known = self._arguments[spec.name] = (spec.function, Arguments(spec.function))
        return known[1]

    def _unknown(self, name: str) -> str:
        names = sorted(spec.name for spec in self._registry)
        choices = ", ".join(names[:MAX_CHOICES]) or "none is registered"
        if len(names) > MAX_CHOICES:
            choices += f" and {len(names) - MAX_CHOICES} more"
        return f"no such tool: {name[:100]}; there are: {choices}"

    async def _record(self, result: ToolResult) -> None:
        if self._recorder is None:
            return
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await self._recorder(result)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _caller_cancelled():
                raise
            _log.error("tool.not_recorded", tool=result.tool, exc_info=True)


class _Foreign(str):
    """The text of an exception that is not ours."""

    __slots__ = ()


def _caller_cancelled() -> bool:
    """Whether a CancelledError is meant for this task, and not for something it awaited."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"(its text cannot be made: {type(broken).__name__})"


async def _until(deadline: float, awaitable: Awaitable[T]) -> T:
    """Await until `deadline` in loop time; raises Overrun, unlike a TimeoutError of the tool's."""
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            return await awaitable
    except Exception as error:
        if limit.expired():
            raise Overrun from error
        raise
