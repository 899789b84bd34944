"""What one plugin offers: every `register_` hook called, every item checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.alignment.indicator import OWN_INDICATORS, IndicatorSpec
from ..core.capabilities import OrchestratorSpec
from ..core.llm.mock import MockProvider
from ..core.memory.layers import MemoryLayerSpec
from ..core.prompts import Prompt
from ..core.tools.spec import ToolSpec
from ..core.tower.process import Quota
from .faults import PluginFault
from .hookspecs import PluginContext
from .implementations import Implementations
from .returned import (
    NAME,
    NAME_RULE,
    check_name,
    check_once,
    entries,
    functions,
    is_async,
    items,
    takes,
    type_name,
)

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from ..core.events.feed import Observer
    from ..core.health.checker import Check
    from ..core.llm.factory import ProviderMaker

COMMANDS_OF_SERVER = frozenset(
    (
        *("answer", "ask", "cleanup", "demo", "new", "openapi", "plugins", "questions"),
        *("schema", "serve", "token"),
    )
)
"""Names after `mission` that are taken."""


@dataclass(frozen=True, slots=True)
class Contributions:
    """Everything one plugin offers. Nothing is offered twice."""

    tools: tuple[ToolSpec, ...]
    configs: Mapping[str, object]
    prompts: tuple[Prompt, ...]
    services: Mapping[str, object]
    orchestrators: tuple[OrchestratorSpec, ...]
    llm_providers: Mapping[str, ProviderMaker]
    graphql: Mapping[str, type]
    routes: tuple[BaseRoute, ...]
    event_observers: tuple[Observer, ...]
    readiness_checks: Mapping[str, Check]
    commands: tuple[Callable[..., object], ...]
    memory_layers: tuple[MemoryLayerSpec, ...]
    alignment_indicators: tuple[IndicatorSpec, ...]


def collect(hooks: Implementations, context: PluginContext) -> Contributions:
    """Call the `register_` hooks of one plugin. Raises PluginFault at the first mistake."""
    return Contributions(
        tools=_tools(hooks, context),
        configs=entries(hooks, context, "register_configs"),
        prompts=_prompts(hooks, context),
        services=entries(hooks, context, "register_services"),
        orchestrators=_orchestrators(hooks, context),
        llm_providers=_providers(hooks, context),
        graphql=_extensions(hooks, context),
        routes=_routes(hooks, context),
        event_observers=_observers(hooks, context),
        readiness_checks=_checks(hooks, context),
        commands=_commands(hooks, context),
        memory_layers=_layers(hooks, context),
        alignment_indicators=_indicators(hooks, context),
    )


def _tools(hooks: Implementations, context: PluginContext) -> tuple[ToolSpec, ...]:
    hook = "register_tools"
    tools = items(hooks, context, hook, ToolSpec, hint="Decorate the function with @tool.")
    check_once(hook, [spec.name for spec in tools])
    return tuple(tools)


def _layers(hooks: Implementations, context: PluginContext) -> tuple[MemoryLayerSpec, ...]:
    hook = "register_memory_layers"
    layers = items(hooks, context, hook, MemoryLayerSpec)
    check_once(hook, [spec.layer for spec in layers])
    return tuple(layers)


def _indicators(hooks: Implementations, context: PluginContext) -> tuple[IndicatorSpec, ...]:
    hook = "register_alignment_indicators"
    indicators = items(hooks, context, hook, IndicatorSpec)
    for spec in indicators:
        check_name(hook, spec.name)
        if spec.name in OWN_INDICATORS:
            raise PluginFault(
                f"{hook}() offers '{spec.name}', which is the server's own.",
                "Choose another name for the indicator.",
            )
    check_once(hook, [spec.name for spec in indicators])
    return tuple(indicators)


def _prompts(hooks: Implementations, context: PluginContext) -> tuple[Prompt, ...]:
    hook = "register_prompts"
    prompts = items(hooks, context, hook, Prompt)
    for prompt in prompts:
        check_name(hook, prompt.name)
    check_once(hook, [f"{item.name} version {item.version}" for item in prompts])
    return tuple(prompts)


def _orchestrators(hooks: Implementations, context: PluginContext) -> tuple[OrchestratorSpec, ...]:
    hook = "register_orchestrators"
    orchestrators = items(hooks, context, hook, OrchestratorSpec)
    for spec in orchestrators:
        _check_orchestrator(spec)
    check_once(hook, [f"{spec.name} version {spec.version}" for spec in orchestrators])
    return tuple(orchestrators)


def _check_orchestrator(spec: OrchestratorSpec) -> None:
    check_name("register_orchestrators", spec.name)
    where = f"register_orchestrators() offers '{spec.name}' with"
    if not (is_async(spec.function) and takes(spec.function, 1)):
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


def _providers(hooks: Implementations, context: PluginContext) -> dict[str, ProviderMaker]:
    hook = "register_llm_providers"
    providers = entries(hooks, context, hook)
    for name, make in providers.items():
        if not callable(make):
            raise PluginFault(
                f"{hook}() returned {type_name(make)} for '{name}', expected a function that takes "
                "the settings.",
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
    extensions = entries(hooks, context, hook)
    for name, extension in extensions.items():
        # Asked by its mark: Strawberry is slow to import, and the schema's affair.
        if not isinstance(extension, type) or not hasattr(extension, "__strawberry_definition__"):
            given = extension.__name__ if isinstance(extension, type) else type_name(extension)
            raise PluginFault(
                f"{hook}() returned {given} for '{name}', expected a class of Strawberry.",
                f"Decorate the class whose fields '{name}' shall have too with @strawberry.type.",
            )
    return extensions


def _routes(hooks: Implementations, context: PluginContext) -> tuple[BaseRoute, ...]:
    hook = "register_routes"
    if hook not in hooks:
        return ()
    from starlette.routing import BaseRoute

    routes = items(
        hooks, context, hook, BaseRoute, hint='Wrap the function: `Route("/path", function)`.'
    )
    if routes and not NAME.fullmatch(context.name):
        raise PluginFault(
            f"{hook}() offers routes, but the plugin's name {context.name!r} cannot stand in a"
            " path.",
            f"Rename its entry point. {NAME_RULE}",
        )
    return tuple(routes)


def _observers(hooks: Implementations, context: PluginContext) -> tuple[Observer, ...]:
    hook = "register_event_observers"
    meant = "`async def observe(event: Event) -> None`"
    observers = functions(hooks, context, hook, meant)
    for observer in observers:
        if not (is_async(observer) and takes(observer, 1)):
            raise PluginFault(
                f"{hook}() offers '{observer.__name__}', which is no async function of an event.",
                f"Write {meant}.",
            )
    return tuple(observers)


def _checks(hooks: Implementations, context: PluginContext) -> dict[str, Check]:
    hook = "register_readiness_checks"
    checks: dict[str, Any] = entries(hooks, context, hook)
    for name, check in checks.items():
        if not (callable(check) and is_async(check) and takes(check, 0)):
            raise PluginFault(
                f"{hook}() returned {type_name(check)} for '{name}', expected an async function"
                " without arguments.",
                f"Write `async def {name.replace('-', '_')}() -> ComponentHealth`.",
            )
    return checks


def command_name(function: Callable[..., object]) -> str:
    """What it is called on the command line: `re_index` is `re-index`."""
    return function.__name__.strip("_").replace("_", "-")


def _commands(hooks: Implementations, context: PluginContext) -> tuple[Callable[..., object], ...]:
    hook = "register_commands"
    commands = functions(hooks, context, hook, "a function that Typer can read")
    for command in commands:
        check_name(hook, command_name(command))
    check_once(hook, [command_name(command) for command in commands])
    if commands and context.name in COMMANDS_OF_SERVER:
        raise PluginFault(
            f"{hook}() offers commands, but `mission {context.name}` is one of the server's own.",
            "Rename the plugin's entry point, or offer no commands.",
        )
    return tuple(commands)
