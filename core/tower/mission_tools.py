"""`mission.tools`: calls of tools as journaled steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from ..errors import ToolFailed
from ..events.event import NewEvent
from ..tools.spec import ToolSpec, ToolStatus
from .codec import adapter_of
from .effects import ANY, Done, Run
from .interrupts import Declined
from .journal import Record
from .process import InterruptKind

SHOWN = 500  # characters of arguments in events and questions


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

        A tool whose risk is `write` or `destructive` asks the user for a confirmation first.

        Raises:
            ToolFailed: it raised, timed out, is unknown or refused its arguments.
            Declined: the user said no.
            QuotaExceeded: `max_tool_calls` is reached.
        """
        run = self._run
        spec = run.runtime.tool_registry.get(name)
        risky = spec is not None and spec.risk != "read_only"
        if spec is not None and risky:
            question = f"May I run the {spec.risk} tool '{name}' with {_shown(arguments)}?"
            answer = await run.ask(InterruptKind.CONFIRMATION, question, ("yes", "no"), None)
            if answer != "yes":
                raise Declined(f"the user declined to run '{name}'")

        async def call(key: str, _attempt: int) -> Done:
            payload = {"step": key, "tool": name, "arguments": _shown(arguments)}
            run.ledger.tell(NewEvent("tool.called", payload, run.owner.pid))
            result = await run.runtime.tool_executor.execute(
                name, arguments, idempotency_key=f"{run.owner.pid}:{key}"
            )
            if result.status is not ToolStatus.SUCCESS:
                raise ToolFailed(name, result.status, result.error or "no reason given")
            return Done(result.value)

        def tell(record: Record) -> NewEvent:
            payload = {
                "step": record.key,
                "tool": name,
                "status": "success" if record.error is None else "error",
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
            risky=risky and not _is_idempotent(spec),
            tell=tell,
        )


def _is_idempotent(spec: ToolSpec | None) -> bool:
    return spec is not None and spec.idempotent


def _shown(arguments: dict[str, Any]) -> str:
    try:
        text = orjson.dumps(arguments, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # lone surrogates, integers beyond 64 bits
        text = ascii(arguments)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
