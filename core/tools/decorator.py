"""`@tool`: a function becomes a `ToolSpec`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, overload

from ..retry import Retry
from .arguments import Arguments, source_of
from .spec import Risk, ToolSpec


@overload
def tool(function: Callable[..., Any], /) -> ToolSpec: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    risk: Risk = "read_only",
    timeout: float = 30.0,
    idempotent: bool = False,
    retry: Retry | None = None,
) -> Callable[[Callable[..., Any]], ToolSpec]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    risk: Risk = "read_only",
    timeout: float = 30.0,
    idempotent: bool = False,
    retry: Retry | None = None,
) -> ToolSpec | Callable[[Callable[..., Any]], ToolSpec]:
    """Make a tool of a sync or async function: `@tool`, or `@tool(risk="write", timeout=10)`.

    The name is the function's, the description the first paragraph of its docstring, the arguments
    its parameters: each has a type, and `Annotated[str, Field(description=...)]` documents one.
    Sync functions run in a thread. `timeout` is in seconds.

    Raises:
        TypeError: the function cannot be a tool as it stands; the message says what to change.
        ValueError: there is no description, or the name, risk or timeout cannot be served.
    """

    def decorate(function: Callable[..., Any]) -> ToolSpec:
        if not callable(function) or isinstance(function, ToolSpec):
            raise TypeError(f"@tool expects a function, not {type(function).__name__}")
        arguments = Arguments(function)
        _check(function, arguments.signature)
        returns = arguments.signature.return_annotation
        return ToolSpec(
            name=_name(function) if name is None else name,
            description=_description(function) if description is None else description,
            function=function,
            parameters=arguments.schema(),
            return_type=Any if returns is inspect.Signature.empty else returns,
            risk=risk,
            timeout=timeout,
            idempotent=idempotent,
            retry=retry,
        )

    return decorate if function is None else decorate(function)


def _check(function: Callable[..., Any], signature: inspect.Signature) -> None:
    source = source_of(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{source}: a tool returns once; return a list instead of yielding")
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            raise TypeError(
                f"{source}: '**{parameter.name}' hides which arguments there are; name each one, "
                f"or take `{parameter.name}: dict[str, Any]`"
            )
        if parameter.annotation is parameter.empty:
            raise TypeError(
                f"{source}: argument '{parameter.name}' has no type; annotate it, such as "
                f"`{parameter.name}: str`"
            )


def _name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", None)
    if not isinstance(name, str):
        raise TypeError(f"{source_of(function)} has no name of its own; give one with name=")
    return name


def _description(function: Callable[..., Any]) -> str:
    paragraph = (inspect.getdoc(function) or "").partition("\n\n")[0]
    if not paragraph.strip():
        raise ValueError(
            f"{source_of(function)} has no docstring; say in one what the tool does, or give "
            "description="
        )
    return " ".join(paragraph.split())
