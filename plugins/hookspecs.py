"""The hooks a plugin may implement. Mark each implementation with `@hookimpl`.

A plugin is whatever an entry point of the group `mission_system` names: most often a module. It
declares what it offers and is handed the server's parts, never the server itself.
"""

# A specification has a docstring and no body:
# mypy: disable-error-code="empty-body"
# pyright: reportReturnType=false
from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings
    from starlette.routing import BaseRoute
    from structlog.typing import FilteringBoundLogger

    from ..core.alignment.indicator import IndicatorSpec
    from ..core.capabilities import OrchestratorSpec
    from ..core.events.event import Event
    from ..core.health.result import ComponentHealth
    from ..core.llm.provider import LLMProvider
    from ..core.memory.layers import MemoryLayerSpec
    from ..core.prompts import Prompt
    from ..core.runtime import MissionRuntime
    from ..core.settings import Settings
    from ..core.tools.spec import ToolSpec

T = TypeVar("T")

PROJECT = "mission_system"
API_VERSION = 1
"""Raised by one when plugins have to change. One that says `mission_api = 1` needs exactly 1."""

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)


@dataclass(frozen=True)
class PluginContext:
    """What every hook receives. Each plugin has its own.

    `distribution` and `version` are those of the installed package, None for a plugin given by
    the embedding program.
    """

    name: str
    distribution: str | None
    version: str | None
    settings: Settings = field(repr=False)
    own_settings: BaseSettings | None = field(default=None, repr=False)

    def own(self, kind: type[T]) -> T:
        """The plugin's own settings, an object of the class that `register_settings` returned.

        Raises:
            TypeError: it returned another class, or there is no such hook.
        """
        if not isinstance(self.own_settings, kind):
            raise TypeError(
                f"the settings of plugin '{self.name}' are {type(self.own_settings).__name__},"
                f" not {kind.__name__}: return that class from register_settings()"
            )
        return self.own_settings

    @cached_property
    def logger(self) -> FilteringBoundLogger:
        """Writes to the server's log, each line with the plugin's name."""
        import structlog  # slow to import, and most plugins load without a word

        logger: FilteringBoundLogger = structlog.get_logger(plugin=self.name)
        return logger


@hookspec
def register_settings(context: PluginContext) -> type[BaseSettings]:
    """Name the class of the plugin's own settings, to be read as `context.own(ThatClass)`.

    Its fields come from `MISSION_<PLUGIN>_<FIELD>` in the environment and `.env`, whatever prefix
    it has itself. Called once, before all other hooks. If this raises, or a setting does not
    validate, the plugin is marked failed and the others still load.
    """


@hookspec
def register_tools(context: PluginContext) -> Iterable[ToolSpec]:
    """Offer tools to the runtime.

    Called once, before startup. Names are unique across plugins; a clash is reported with both
    distributions. If this raises, the plugin is marked failed and the others still load.
    """


@hookspec
def register_configs(context: PluginContext) -> Mapping[str, object]:
    """Offer configs, by name, to be read back with `mission.config(name)`.

    Called once, before startup. Names are unique across plugins; a clash is reported with both
    distributions. If this raises, the plugin is marked failed and the others still load.
    """


@hookspec
def register_prompts(context: PluginContext) -> Iterable[Prompt]:
    """Offer prompts, to be filled in with `mission.prompt(name, ...)`.

    Several versions of one name may be offered: the newest is used, unless the setting `prompts`
    says otherwise. Called once, before startup. A name belongs to one plugin; a clash is reported
    with both distributions. If this raises, the plugin is marked failed and the others still load.
    """


@hookspec
def register_services(context: PluginContext) -> Mapping[str, object]:
    """Offer services, by name, to capabilities and other plugins: `mission.service(name)`.

    An async context manager is entered before the plugin's `runtime_started`, for at most 30
    seconds, and what that gives is the service; it is left after `runtime_stopping`. Called once,
    before startup. Names are unique across plugins; a clash is reported with both distributions. If
    this raises, the plugin is marked failed and the others still load; if entering does, it is
    marked failed, the service is unavailable, and what else it registered stays served.
    """


@hookspec
def register_orchestrators(context: PluginContext) -> Iterable[OrchestratorSpec]:
    """Offer capabilities. Several versions of one name may be served side by side.

    Called once, before startup. A name belongs to one plugin; a clash is reported with both
    distributions. If this raises, the plugin is marked failed and the others still load.
    """


@hookspec
def register_llm_providers(
    context: PluginContext,
) -> Mapping[str, Callable[[Settings], LLMProvider]]:
    """Offer LLM providers: what makes one, by the name that `llm_provider` selects it with.

    Called once, before startup; only the selected ones are made. Names are unique across plugins;
    a clash is reported with both distributions. If this raises, the plugin is marked failed and
    the others still load.
    """


@hookspec
def register_graphql(context: PluginContext) -> Mapping[str, type]:
    """Extend the GraphQL schema: by name of one of its types (Query, Mutation, Subscription,
    Session, Process, ...), a class of Strawberry whose fields that type shall have too.

    Each field has a resolver; the thing it is asked of comes as `strawberry.Parent`, the server's
    parts in `info.context` (`mission_system.api.graphql`). Called once, before startup. Names of
    fields and types are unique across the server and its plugins. If this raises, the plugin is
    marked failed and the others still load; for a clash, or where the schema would not be valid,
    it is marked failed too, and only what this hook returned is not served.
    """


@hookspec
def register_routes(context: PluginContext) -> Iterable[BaseRoute]:
    """Offer Starlette routes, served under `/plugins/<plugin>/`.

    Whoever comes there has passed the server's checks, and is `request.user`, a `Caller`; the
    server's parts are in `request.app.state`. Called once, before startup. If this raises, the
    plugin is marked failed and the others still load.
    """


@hookspec
def register_memory_layers(context: PluginContext) -> Iterable[MemoryLayerSpec]:
    """Offer layers of memory that the server does not keep: L3 semantic, L5 graph, L6 skills.

    Called once, before startup; each layer's `check` is called whenever somebody looks. A layer
    belongs to one plugin; a clash is reported with both distributions. If this raises, the plugin
    is marked failed and the others still load.
    """


@hookspec
def register_event_observers(
    context: PluginContext,
) -> Iterable[Callable[[Event], Awaitable[None]]]:
    """Offer async functions that are told of each event that happens while the server runs.

    Each is called with one event after another, for at most 10 seconds, in order within a session,
    by itself: the log never waits for it. What it raises is logged, and it goes on with the next
    event. Called once, before startup. If this raises, the plugin is marked failed and the others
    still load.
    """


@hookspec
def register_readiness_checks(
    context: PluginContext,
) -> Mapping[str, Callable[[], Awaitable[ComponentHealth]]]:
    """Offer checks, by name, that the server's readiness asks too, as `<plugin>.<name>`.

    One that says `DOWN` keeps the server from being ready; one that raises, or does not answer
    within 3 seconds, only degrades it. Called once, before startup. If this raises, the plugin is
    marked failed and the others still load.
    """


@hookspec
def register_commands(context: PluginContext) -> Iterable[Callable[..., object]]:
    """Offer commands `mission <plugin> <function>`: functions whose arguments Typer reads.

    Called once, before startup, and by the command line when such a command is run: import what a
    command needs inside its function. If this raises, the plugin is marked failed and the others
    still load.
    """


@hookspec
def register_alignment_indicators(context: PluginContext) -> Iterable[IndicatorSpec]:
    """Offer promises to be measured beside the server's own.

    Called once, before startup; each indicator's `measure` is called when somebody looks, every 15
    seconds at most. Names are unique across the server and its plugins; a clash is reported with
    both distributions. If this raises, the plugin is marked failed and the others still load.
    """


@hookspec
async def runtime_started(context: PluginContext, runtime: MissionRuntime) -> None:
    """Open what the plugin needs while the server runs (connections, background tasks).

    Awaited once the runtime is up, in load order, for at most 30 seconds. If this raises, the
    plugin is marked failed; what it registered stays served, and the server goes on.
    """


@hookspec
async def runtime_stopping(context: PluginContext, runtime: MissionRuntime) -> None:
    """Close what `runtime_started` opened.

    Awaited before the runtime closes, in reverse load order, for at most 30 seconds, unless the
    plugin's `runtime_started` failed. If this raises, it is logged and the others still stop.
    """
