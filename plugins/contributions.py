"""What one plugin offers: every `register_` hook called, every item checked."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.capabilities import OrchestratorSpec
from ..core.llm.mock import MockProvider
from ..core.prompts import Prompt
from ..core.tools.spec import ToolSpec
from ..core.tower.process import Quota
from .faults import PluginFault, guard
from .hookspecs import PluginContext
from .implementations import Implementations, call

if TYPE_CHECKING:
    from ..core.llm.factory import ProviderMaker

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
NAME_RULE = "A name is 1 to 64 letters, digits, '_' and '-', and starts with a letter."


@dataclass(frozen=True, slots=True)
class Contributions:
    """Everything one plugin offers. Nothing is offered twice."""

    tools: tuple[ToolSpec, ...]
    configs: Mapping[str, object]
    prompts: tuple[Prompt, ...]
    graphql: Mapping[str, type]
    orchestrators: tuple[OrchestratorSpec, ...]
    llm_providers: Mapping[str, ProviderMaker]


def collect(hooks: Implementations, context: PluginContext) -> Contributions:
    """Call the `register_` hooks of one plugin. Raises PluginFault at the first mistake."""
    tools = _specs(hooks, context, "register_tools", ToolSpec)
    _check_once("register_tools", [spec.name for spec in tools])
    prompts = _specs(hooks, context, "register_prompts", Prompt)
    for prompt in prompts:
        _check_name("register_prompts", prompt.name)
    _check_once("register_prompts", [f"{item.name} version {item.version}" for item in prompts])
    orchestrators = _specs(hooks, context, "register_orchestrators", OrchestratorSpec)
    for spec in orchestrators:
        _check_orchestrator(spec)
    versions = [f"{spec.name} version {spec.version}" for spec in orchestrators]
    _check_once("register_orchestrators", versions)
    return Contributions(
        tools=tuple(tools),
        configs=_entries(hooks, context, "register_configs"),
        prompts=tuple(prompts),
        graphql=_extensions(hooks, context),
        orchestrators=tuple(orchestrators),
        llm_providers=_providers(hooks, context),
    )


def _specs(hooks: Implementations, context: PluginContext, hook: str, kind: type[T]) -> list[T]:
    specs: list[T] = []
    for implementation in hooks.get(hook, ()):
        with _guard(hook):
            specs += _checked_list(hook, call(implementation, context=context), kind)
    return specs


def _checked_list(hook: str, value: object, kind: type[T]) -> list[T]:
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise PluginFault(
            f"{hook}() returned {_type(value)}, expected {kind.__name__}.",
            f"Return a list, even for one: `return [{kind.__name__}(...)]`; `return []` for none.",
        )
    items = list(value)
    for item in items:
        if not isinstance(item, kind):
            plain_tool = kind is ToolSpec and callable(item)
            raise PluginFault(
                f"{hook}() returned a list that holds {_type(item)}, expected {kind.__name__}.",
                "Decorate the function with @tool." if plain_tool else "Return nothing else in it.",
            )
    return items


def _entries(hooks: Implementations, context: PluginContext, hook: str) -> dict[str, Any]:
    pairs: list[tuple[str, object]] = []
    for implementation in hooks.get(hook, ()):
        with _guard(hook):
            value = call(implementation, context=context)
            if not isinstance(value, Mapping):
                raise PluginFault(
                    f"{hook}() returned {_type(value)}, expected a mapping by name.",
                    'Return a dict: `return {"name": ...}`; `return {}` for none.',
                )
            pairs += value.items()
    for name, _ in pairs:
        _check_name(hook, name)
    _check_once(hook, [name for name, _ in pairs])
    return dict(pairs)


def _providers(hooks: Implementations, context: PluginContext) -> dict[str, ProviderMaker]:
    hook = "register_llm_providers"
    providers = _entries(hooks, context, hook)
    for name, make in providers.items():
        if not callable(make):
            raise PluginFault(
                f"{hook}() returned {_type(make)} for '{name}', expected a function that takes the "
                "settings.",
                f'Return what makes the provider: `return {{"{name}": lambda settings: ...}}`.',
            )
    if MockProvider.name in providers:
        raise PluginFault(
            f"{hook}() offers '{MockProvider.name}', which is the server's own.",
            "Choose another name for the provider.",
        )
    return providers


def _extensions(hooks: Implementations, context: PluginContext) -> dict[str, type]:
    hook = "register_graphql"
    extensions = _entries(hooks, context, hook)
    for name, extension in extensions.items():
        # Asked by its mark: Strawberry is slow to import, and the schema's affair.
        if not isinstance(extension, type) or not hasattr(extension, "__strawberry_definition__"):
            given = extension.__name__ if isinstance(extension, type) else _type(extension)
            raise PluginFault(
                f"{hook}() returned {given} for '{name}', expected a class of Strawberry.",
                f"Decorate the class whose fields '{name}' shall have too with @strawberry.type.",
            )
    return extensions


def _check_orchestrator(spec: OrchestratorSpec) -> None:
    _check_name("register_orchestrators", spec.name)
    where = f"register_orchestrators() offers '{spec.name}' with"
    if not (_is_async(spec.function) and _takes_one(spec.function)):
        raise PluginFault(
            f"{where} function {spec.function!r}.",
            "Give an async function that takes the mission:"
            f' `OrchestratorSpec("{spec.name}", answer)` with `async def answer(mission)`.',
        )
    if not isinstance(spec.description, str):
        raise PluginFault(f"{where} description {spec.description!r}.", "description is a str.")
    if not isinstance(spec.quota, Quota | None):
        raise PluginFault(f"{where} quota {spec.quota!r}.", "quota is a Quota, or None.")
    for field, number in (("version", spec.version), ("max_concurrent", spec.max_concurrent)):
        if not isinstance(number, int) or number < 1:
            raise PluginFault(f"{where} {field} {number!r}.", f"{field} is an integer from 1.")


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


def _takes_one(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind(object())
    except (TypeError, ValueError):
        return False
    return True


def _check_name(hook: str, name: object) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise PluginFault(f"{hook}() offers something named {name!r}.", NAME_RULE)


def _check_once(hook: str, names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise PluginFault(f"{hook}() offers '{name}' twice.", "Rename or remove one of them.")


def _guard(hook: str) -> AbstractContextManager[None]:
    return guard(f"{hook}()", "Correct the hook, upgrade the plugin, or disable it.")


def _type(value: object) -> str:
    return type(value).__name__
