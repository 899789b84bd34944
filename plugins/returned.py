"""What a hook returned: its form is checked before anything is done with it."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from .faults import PluginFault, guard
from .hookspecs import PluginContext
from .implementations import Implementations, call

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
NAME_RULE = "A name is 1 to 64 letters, digits, '_' and '-', and starts with a letter."


def items(
    hooks: Implementations,
    context: PluginContext,
    hook: str,
    kind: type[T],
    *,
    expected: str = "",
    hint: str = "",
) -> list[T]:
    """All that a plugin's implementations of a hook list. `expected`: what a `kind` is called;
    `hint`: what to do instead of listing a plain function."""
    listed: list[T] = []
    for implementation in hooks.get(hook, ()):
        with calling(hook):
            value = call(implementation, context=context)
            listed += _list(hook, value, kind, expected or kind.__name__, hint)
    return listed


def _list(hook: str, value: object, kind: type[T], expected: str, hint: str) -> list[T]:
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise PluginFault(
            f"{hook}() returned {type_name(value)}, expected {expected}.",
            "Return a list, even for one: `return [one]`; `return []` for none.",
        )
    listed = list(value)
    for item in listed:
        if not isinstance(item, kind):
            raise PluginFault(
                f"{hook}() returned a list that holds {type_name(item)}, expected {expected}.",
                hint if hint and callable(item) else "Return nothing else in it.",
            )
    return listed


def functions(
    hooks: Implementations, context: PluginContext, hook: str, meant: str
) -> list[Callable[..., Any]]:
    """The functions that a hook lists, each with a name; `meant` shows one as it should be."""
    listed: list[Callable[..., Any]] = []
    for function in items(hooks, context, hook, object, expected="a function"):
        if not callable(function) or not isinstance(getattr(function, "__name__", None), str):
            raise PluginFault(
                f"{hook}() returned a list that holds {type_name(function)}, expected a function.",
                f"Write {meant}, and return it in the list.",
            )
        listed.append(function)
    check_once(hook, [function.__name__ for function in listed])
    return listed


def entries(hooks: Implementations, context: PluginContext, hook: str) -> dict[str, Any]:
    """All that a plugin's implementations of a hook give, by name."""
    pairs: list[tuple[str, object]] = []
    for implementation in hooks.get(hook, ()):
        with calling(hook):
            value = call(implementation, context=context)
            if not isinstance(value, Mapping):
                raise PluginFault(
                    f"{hook}() returned {type_name(value)}, expected a mapping by name.",
                    'Return a dict: `return {"name": ...}`; `return {}` for none.',
                )
            pairs += value.items()
    for name, _ in pairs:
        check_name(hook, name)
    check_once(hook, [name for name, _ in pairs])
    return dict(pairs)


def is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


def takes(function: Callable[..., object], count: int) -> bool:
    """Whether it can be called with so many arguments by position."""
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def check_name(hook: str, name: object) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise PluginFault(f"{hook}() offers something named {name!r}.", NAME_RULE)


def check_once(hook: str, names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise PluginFault(f"{hook}() offers '{name}' twice.", "Rename or remove one of them.")


def calling(hook: str) -> AbstractContextManager[None]:
    return guard(f"{hook}()", "Correct the hook, upgrade the plugin, or disable it.")


def type_name(value: object) -> str:
    return type(value).__name__
