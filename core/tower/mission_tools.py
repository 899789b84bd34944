"""`mission.tools`: calls of tools as journaled steps."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter

from ..chat.text import storable
from ..clock import SECOND, Micros, now
from ..errors import InvalidInput, MissionError, ToolFailed
from ..events.event import NewEvent
from ..storage.persistence import Transaction
from ..tools.arguments import Arguments
from ..tools.calls import FinishedCall, add_call
from ..tools.spec import ToolSpec, ToolStatus
from .branches import Branch
from .codec import ANY, adapter_of, error_status
from .effects import Run
from .interrupts import CONFIRM, Declined, Question
from .journal import Record
from .ledger import Ledger
from .policy import Decision, decide
from .process import InterruptKind
from .steps import Done

SHOWN = 500  # characters of all arguments, in events
SHOWN_VALUE = 300  # and of one of them, in a question
MOST = 20  # arguments in a question
NAMES: TypeAdapter[list[str]] = TypeAdapter(list[str])
UNCERTAIN = (ToolStatus.ERROR, ToolStatus.TIMEOUT, ToolStatus.CANCELLED)
"""How a call ends that may have taken effect all the same."""


class Tools:
    """`await mission.tools.<name>(...)`, or `call` where the name is not known beforehand."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name.startswith("_"):
            raise AttributeError(name)

        async def call(**arguments: Any) -> Any:
            return await self.call(name, **arguments)

        return call

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Call a tool; what it returned, decoded by its declared type.

        Policy says whether it runs, is refused, or asks the user for a confirmation first; where
        it says nothing, tools of risk `write` and `destructive` ask.

        Raises:
            ToolFailed: it raised, timed out, is unknown or refused its arguments.
            Declined: the user said no.
            QuotaExceeded: `max_tool_calls` is reached.
        """
        run = self._run
        spec = run.runtime.tool_registry.get(name)
        risky = spec is not None and spec.risk != "read_only" and not spec.idempotent

        attempts = _Attempts(run.ledger, name)

        async def call(key: str, _attempt: int) -> Done:
            payload = {"step": key, "tool": name, "arguments": _shown(arguments)}
            run.ledger.tell(NewEvent("tool.called", payload, run.owner.pid))
            attempts.begin()
            result = await run.runtime.tool_executor.execute(
                name, arguments, idempotency_key=f"{run.owner.pid}:{key}"
            )
            attempts.end(result.status)
            if result.status is not ToolStatus.SUCCESS:
                reason = result.error or "no reason given"
                raise ToolFailed(name, result.status, reason, result.foreign)
            return Done(result.value)

        def tell(record: Record) -> NewEvent:
            attempts.end(ToolStatus.CANCELLED)
            payload = {
                "step": record.key,
                "tool": name,
                "status": "success" if record.error is None else error_status(record.error),
                "seconds": record.duration / 1e6,
            }
            return NewEvent("tool.completed", payload, run.owner.pid)

        return await run.perform(
            "tool",
            name,
            arguments,
            adapter_of(spec.return_type) if spec is not None else ANY,
            call,
            charge=("tool_calls",),
            risky=risky,
            tell=tell,
            retry=None if spec is None else spec.retry,
            again=partial(_again, risky),
            permit=None if spec is None else partial(self._permit, spec, arguments),
        )

    async def offered(self) -> list[ToolSpec]:
        """The tools that a model may be offered now: without those whose circuit breaker is open
        or half-open and busy, and those that this process may not run. One step, so that a replay
        offers the same."""
        run = self._run

        async def look(_key: str, _attempt: int) -> Done:
            refused = run.runtime.breakers.refusal
            return Done(
                [
                    spec.name
                    for spec in run.runtime.tool_registry
                    if refused(spec.name) is None and self._decision(spec) != "deny"
                ]
            )

        names: list[str] = await run.perform("tools", "offered", None, NAMES, look)
        found = [run.runtime.tool_registry.get(name) for name in names]
        return [spec for spec in found if spec is not None]

    async def _permit(
        self, spec: ToolSpec, arguments: dict[str, Any], branch: Branch, record: Record
    ) -> MissionError | None:
        # By the arguments too: a yes is for what was shown, whatever a replay asks for.
        run, key = self._run, f"{record.key}{CONFIRM}{record.digest}"
        asked = run.journal.is_asked(key)
        decision = "confirm" if asked else self._decision(spec)
        if decision == "deny":
            reason = f"the policy of this server does not let '{run.process.capability}' run it"
            return ToolFailed(spec.name, ToolStatus.DENIED, reason)
        if decision == "allow":
            return None
        refusal = None if asked else run.runtime.breakers.refusal(spec.name)
        if refusal is not None:  # nobody is asked about what cannot be done
            return ToolFailed(spec.name, ToolStatus.UNAVAILABLE, refusal)
        try:
            used = arguments if asked else _used(spec, arguments)
        except InvalidInput as error:
            return ToolFailed(spec.name, ToolStatus.INVALID_ARGUMENTS, error.message)
        if await run.ask_at(branch, key, _may_i(spec, used)) != "yes":
            raise Declined(f"the user declined to run '{spec.name}'")
        return None

    def _decision(self, spec: ToolSpec) -> Decision:
        run = self._run
        return decide(
            run.runtime.settings.tool_policy,
            run.spec.tool_policy,
            spec,
            user=run.process.user_id,
            capability=run.process.capability,
        )


class _Attempts:
    """Counts the attempts at one step, each in the unit that stores what comes of it."""

    def __init__(self, ledger: Ledger, tool: str) -> None:
        self._ledger = ledger
        self._tool = tool
        self._began: tuple[Micros, float] | None = None

    def begin(self) -> None:
        self._began = now(), time.monotonic()

    def end(self, status: ToolStatus) -> None:
        """The attempt under way has ended so. Nothing where none is."""
        if self._began is None:
            return
        (at, began), self._began = self._began, None
        duration = int((time.monotonic() - began) * SECOND)
        call = FinishedCall(self._tool, status, at, duration)

        async def write(tx: Transaction, _at: Micros) -> list[NewEvent]:
            await add_call(tx, call)
            return []

        self._ledger.put(write)


def _again(risky: bool, error: Exception) -> bool:
    if not isinstance(error, ToolFailed):
        return False
    return error.status == ToolStatus.BUSY or (error.status in UNCERTAIN and not risky)


def _used(spec: ToolSpec, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments as the function will get them, defaults included."""
    try:
        arguments = Arguments(spec.function)
    except TypeError:  # of a spec made by hand: its executor knows what to do with it
        return given
    return arguments.parse(given)


def _may_i(spec: ToolSpec, arguments: dict[str, Any]) -> Question:
    data = {"tool": spec.name, "risk": spec.risk, "arguments": _shown(arguments)}
    lines = [f"May I run the {spec.risk.replace('_', '-')} tool '{spec.name}'?"]
    for name, value in list(arguments.items())[:MOST]:
        lines.append(f"  {_readable(name)}: {_readable(value)}")
    if len(arguments) > MOST:
        lines.append(f"  ... and {len(arguments) - MOST} more")
    return Question(InterruptKind.CONFIRMATION, "\n".join(lines), data=data)


def _readable(value: Any) -> str:
    """A value as people write it, on one line: none can pass for another argument."""
    text = storable(value) if isinstance(value, str) else _json(value)
    text = " ".join(text.split())
    if len(text) <= SHOWN_VALUE:
        return text
    return f"{text[:SHOWN_VALUE]}... ({len(text)} characters)"


def _shown(arguments: dict[str, Any]) -> str:
    text = _json(arguments)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # lone surrogates, integers beyond 64 bits
        return ascii(value)


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else repr(value)
