"""What a tool is: a function with a name, a schema, a risk and a timeout."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from ..retry import Retry

Risk = Literal["read_only", "write", "destructive"]
JsonObject = dict[str, Any]

TOOL_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
TAKEN = ("call", "offered")
"""What `mission.tools` has of its own."""


class ToolStatus(StrEnum):
    """How one call of a tool ended. Only `success` counts as success."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    INVALID_ARGUMENTS = "invalid_arguments"
    NOT_FOUND = "not_found"
    CANCELLED = "cancelled"
    BUSY = "busy"
    DENIED = "denied"
    UNAVAILABLE = "unavailable"
    """Refused by its circuit breaker, without being called."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The outcome of one call. `value` is what the function returned, None unless `success`;
    `error` says why, None when `success`; `foreign` says that it is the text of an exception of
    the tool's own, which only an orchestrator should read; `duration` is in seconds."""

    tool: str
    status: ToolStatus
    value: Any = None
    error: str | None = None
    duration: float = 0.0
    foreign: bool = False


@runtime_checkable
class ToolRegistry(Protocol):
    """Where tools are looked up. A caller may bring its own."""

    def get(self, name: str) -> ToolSpec | None:
        """The tool of that name, or None."""
        ...

    def __iter__(self) -> Iterator[ToolSpec]: ...


@runtime_checkable
class ToolExecutor(Protocol):
    """Runs tools: validates arguments, bounds time, keeps sync functions in threads."""

    async def execute(
        self, name: str, arguments: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> ToolResult:
        """Run one tool. Never raises for the tool's own failure: the result's status says it."""
        ...


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool, ready to be served. Made by the `tool` decorator or by hand.

    `timeout` is in seconds. `idempotent` tools may be called again after a crash. `retry` is how
    missions try a failed call again; of a risky tool that is not idempotent only one that was
    refused as busy, for any other may have taken effect. `parameters` is
    the JSON Schema (2020-12) of the arguments, `return_type` what `function` is declared to return.
    Arguments are validated against the signature of `function`; what a spec made by hand takes as
    `**kwargs` reaches the function unchecked.

    Raises:
        ValueError: the name, the risk or the timeout is not one that can be served.
    """

    name: str
    description: str
    function: Callable[..., Any]
    parameters: JsonObject
    return_type: Any
    risk: Risk = "read_only"
    timeout: float = 30.0
    idempotent: bool = False
    retry: Retry | None = None

    def __post_init__(self) -> None:
        if not TOOL_NAME.fullmatch(self.name):
            raise ValueError(
                f"tool {self.name!r}: a name is 1 to 64 of a-z, 0-9 and '_', and starts with a "
                "letter; give another one with name="
            )
        if self.name in TAKEN:
            raise ValueError(
                f"tool '{self.name}': mission.tools.{self.name} is taken; give another name"
            )
        if self.risk not in get_args(Risk):
            choices = ", ".join(get_args(Risk))
            raise ValueError(f"tool '{self.name}': risk {self.risk!r} is not one of: {choices}")
        if not 0 < self.timeout < math.inf:
            raise ValueError(
                f"tool '{self.name}': timeout {self.timeout!r} is not a number of seconds above 0"
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the plain function: no validation, no timeout. For tests of the function itself."""
        return self.function(*args, **kwargs)
