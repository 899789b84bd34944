"""The plugins of one server: what they contribute, and their start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

import structlog

from ..core.configs import Configs
from ..core.services import Services
from ..core.tools.catalog import ToolCatalog
from .contributions import Contributions
from .faults import PluginFault, describe, traceback_of
from .hookspecs import PluginContext
from .implementations import Implementations, call
from .readiness import lenient
from .report import PluginReport, PluginStatus

if TYPE_CHECKING:
    from ..core.alignment.indicator import IndicatorSpec
    from ..core.capabilities import OrchestratorSpec
    from ..core.health.checker import Check
    from ..core.llm.factory import ProviderMaker
    from ..core.memory.layers import MemoryLayerSpec
    from ..core.prompts import Prompt
    from ..core.runtime import MissionRuntime

log = structlog.get_logger(__name__)

HOOK_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class Plugin:
    """A plugin that loaded. Its report changes where a part of it turns out not to be served."""

    context: PluginContext
    hooks: Implementations
    contributions: Contributions
    report: PluginReport


class PluginHost:
    """Holds what every loaded plugin contributes, and a report on each plugin, loaded or not.

    Made by `load_plugins`; two hosts share nothing.
    """

    def __init__(self) -> None:
        self.reports: tuple[PluginReport, ...] = ()
        self.tools = ToolCatalog()
        self.configs = Configs()
        self.prompts: tuple[Prompt, ...] = ()
        self.services = Services()
        self.readiness_checks: dict[str, Check] = {}
        self.orchestrators: tuple[OrchestratorSpec, ...] = ()
        self.llm_providers: dict[str, ProviderMaker] = {}
        self.memory_layers: tuple[MemoryLayerSpec, ...] = ()
        self.alignment_indicators: tuple[IndicatorSpec, ...] = ()
        self._plugins: list[Plugin] = []
        self._begun: list[Plugin] = []
        self._running: set[Plugin] = set()

    def admit(self, plugin: Plugin) -> None:
        """Take in a plugin whose names are known to be free."""
        offered = plugin.contributions
        for spec in offered.tools:
            self.tools.register(spec, owner=plugin.report.source)
        for name, config in offered.configs.items():
            self.configs.register(name, config)
        self.prompts += offered.prompts
        for name, service in offered.services.items():
            self.services.register(name, service)
        for name, check in offered.readiness_checks.items():
            component = f"{plugin.context.name}.{name}"
            self.readiness_checks[component] = lenient(component, check)
        self.orchestrators += offered.orchestrators
        self.llm_providers |= offered.llm_providers
        self.memory_layers += offered.memory_layers
        self.alignment_indicators += offered.alignment_indicators
        self.reports += (plugin.report,)
        self._plugins.append(plugin)

    @property
    def loaded(self) -> tuple[Plugin, ...]:
        """The plugins that loaded, in load order."""
        return tuple(self._plugins)

    def refuse(self, report: PluginReport, fault: PluginFault) -> None:
        """Report a plugin of which nothing is served."""
        self.reports += (_refused(report, fault),)

    def fail(self, plugin: Plugin, fault: PluginFault) -> None:
        """Report a plugin that loaded, and of which a part is not served after all."""
        loaded, failed = plugin.report, _refused(plugin.report, fault)
        if loaded.reason and loaded.fix:  # another part has failed before
            failed = replace(
                failed, reason=f"{loaded.reason} {fault.reason}", fix=f"{loaded.fix} {fault.fix}"
            )
        plugin.report = failed
        self.reports = tuple(failed if report is loaded else report for report in self.reports)

    async def started(self, runtime: MissionRuntime) -> None:
        """Open each plugin's services and run its `runtime_started`, in load order. One that fails
        is reported so."""
        for plugin in self._plugins:
            self._begun.append(plugin)
            try:
                for name in plugin.contributions.services:
                    await _within(f"opening the service '{name}'", self.services.open(name))
                await _run(plugin, "runtime_started", runtime)
            except PluginFault as fault:
                self.fail(plugin, fault)
            else:
                self._running.add(plugin)

    async def stopping(self, runtime: MissionRuntime) -> None:
        """Run `runtime_stopping` of each plugin that started, and close its services, the last one
        first."""
        while self._begun:
            plugin = self._begun.pop()
            if plugin in self._running:
                self._running.discard(plugin)
                await _tried(plugin, _run(plugin, "runtime_stopping", runtime))
            for name in reversed(tuple(plugin.contributions.services)):
                closing = self.services.close(name)
                await _tried(plugin, _within(f"closing the service '{name}'", closing))


async def _tried(plugin: Plugin, work: Awaitable[None]) -> None:
    try:
        await work
    except PluginFault as fault:
        log.error(
            "plugin.not_stopped",
            plugin=plugin.context.name,
            reason=fault.reason,
            exc_info=traceback_of(fault),
        )


async def _run(
    plugin: Plugin, name: Literal["runtime_started", "runtime_stopping"], runtime: MissionRuntime
) -> None:
    """Await one hook of one plugin. Raises PluginFault for whatever it does but return in time."""
    for hook in plugin.hooks.get(name, ()):
        work = call(hook, context=plugin.context, runtime=runtime)
        await _within(f"{name}()", cast(Awaitable[None], work))


async def _within(what: str, work: Awaitable[None]) -> None:
    """Await what a plugin does. Raises PluginFault for whatever it does but return in time."""
    asked_to_stop = _times_cancelled()
    deadline = asyncio.timeout(HOOK_SECONDS)
    try:
        async with deadline:
            await work
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # It may let the cancellation of a task of its own through: that is not ours.
        if isinstance(error, asyncio.CancelledError) and _times_cancelled() > asked_to_stop:
            raise
        problem = (
            f"took longer than {HOOK_SECONDS:g} seconds and was cancelled"
            if deadline.expired()
            else f"raised {describe(error)}"
        )
        raise PluginFault(
            f"{what} {problem}.",
            "What the plugin registered stays served. Correct the cause and restart the "
            "server, or disable the plugin.",
        ) from error


def _times_cancelled() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _refused(report: PluginReport, fault: PluginFault) -> PluginReport:
    say = log.info if fault.status is PluginStatus.DISABLED else log.error
    say(
        f"plugin.{fault.status}",
        plugin=report.name,
        source=report.source,
        reason=fault.reason,
        fix=fault.fix,
        exc_info=traceback_of(fault),
    )
    return replace(report, status=fault.status, reason=fault.reason, fix=fault.fix)
