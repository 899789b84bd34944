"""Loads plugins one by one: a broken one is reported and contributes nothing, the rest serve."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import structlog

from ..core.settings import Settings
from .contributions import collect, command_name
from .discovery import Candidate, given, installed
from .faults import PluginFault, guard
from .hookspecs import API_VERSION, PluginContext
from .host import Plugin, PluginHost
from .implementations import implementations
from .own_settings import read_settings
from .report import PluginReport, PluginStatus

__all__ = ["PluginHost", "load_plugins"]

log = structlog.get_logger(__name__)

CLAIMED = (
    *("tools", "configs", "prompts", "services", "orchestrators", "llm_providers"),
    *("memory_layers", "alignment_indicators"),
)
"""What has a name that only one plugin may have, as the reports call it."""


def load_plugins(
    settings: Settings,
    plugins: Iterable[object] | None = None,
    *,
    entry_points: bool = True,
    only: str | None = None,
) -> PluginHost:
    """Load what the embedding program gives, then the server's own plugins, then the installed.

    Where two claim one name, the one loaded first keeps it. With `only`, plugins of other names are
    left alone. Never raises for a plugin's mistake:
    see `PluginHost.reports`.
    """
    candidates = given(plugins or ())
    if entry_points:
        candidates += installed()
    known = {candidate.name for candidate in candidates}
    if only is not None:
        candidates = [candidate for candidate in candidates if candidate.name == only]
    host = PluginHost()
    for candidate in candidates:
        report = PluginReport(
            name=candidate.name, distribution=candidate.distribution, version=candidate.version
        )
        try:
            _check_wanted(report, settings, host.reports)
            plugin = _load(candidate, report, settings)
            _check_free(plugin.report, host.reports)
        except PluginFault as fault:
            host.refuse(report, fault)
        else:
            host.admit(plugin)
    unknown = set(settings.disabled_plugins) - known
    if unknown:
        log.warning("plugin.disabled_unknown", unknown=sorted(unknown), plugins=sorted(known))
    return host


def _check_wanted(
    report: PluginReport, settings: Settings, earlier: Iterable[PluginReport]
) -> None:
    if report.name in settings.disabled_plugins:
        raise PluginFault(
            "it is disabled by the setting disabled_plugins.",
            f"To serve it, remove '{report.name}' from MISSION_DISABLED_PLUGINS.",
            PluginStatus.DISABLED,
        )
    for other in earlier:
        if other.name == report.name and other.status is PluginStatus.LOADED:
            raise PluginFault(
                f"the plugin name '{report.name}' of {report.source} is taken by {other.source}, "
                "which loaded first.",
                "Uninstall one of the two distributions, or rename its entry point.",
            )


def _load(candidate: Candidate, report: PluginReport, settings: Settings) -> Plugin:
    loaded = candidate.load()
    with guard("inspecting it", "Correct what the entry point names, or disable the plugin."):
        _check_api(loaded, candidate)
        hooks = implementations(loaded)
    context = PluginContext(candidate.name, candidate.distribution, candidate.version, settings)
    context = replace(context, own_settings=read_settings(hooks, context))
    offered = collect(hooks, context)
    served = replace(
        report,
        tools=tuple(spec.name for spec in offered.tools),
        configs=tuple(offered.configs),
        prompts=tuple(dict.fromkeys(prompt.name for prompt in offered.prompts)),
        orchestrators=tuple(dict.fromkeys(spec.name for spec in offered.orchestrators)),
        llm_providers=tuple(offered.llm_providers),
        services=tuple(offered.services),
        memory_layers=tuple(spec.layer for spec in offered.memory_layers),
        alignment_indicators=tuple(spec.name for spec in offered.alignment_indicators),
        graphql=tuple(offered.graphql),
        routes=tuple(getattr(route, "path", "") or "/" for route in offered.routes),
        event_observers=tuple(each.__name__ for each in offered.event_observers),
        readiness_checks=tuple(offered.readiness_checks),
        commands=tuple(command_name(each) for each in offered.commands),
    )
    return Plugin(context, hooks, offered, served)


def _check_api(plugin: object, candidate: Candidate) -> None:
    wanted = getattr(plugin, "mission_api", API_VERSION)
    if not isinstance(wanted, int):
        raise PluginFault(
            f"mission_api is {wanted!r}, expected an integer.",
            f"Write `mission_api = {API_VERSION}`, or leave it out.",
        )
    if wanted != API_VERSION:
        way_out = ", or upgrade mission-system" if wanted > API_VERSION else ""
        raise PluginFault(
            f"it is made for plugin API {wanted}; this server has {API_VERSION}.",
            f"Install a release of {candidate.distribution or candidate.name} that is made for "
            f"plugin API {API_VERSION}{way_out}.",
            PluginStatus.INCOMPATIBLE,
        )


def _check_free(report: PluginReport, earlier: Iterable[PluginReport]) -> None:
    for other in earlier:
        for kind in CLAIMED:
            taken = sorted(set(getattr(report, kind)).intersection(getattr(other, kind)))
            if taken:
                what = kind.removesuffix("s").replace("_", " ")
                raise PluginFault(
                    f"{what} '{taken[0]}' of plugin {report.title} is already registered by "
                    f"plugin {other.title}, which loaded first.",
                    "Rename it in one of them, or disable one of the two plugins: "
                    f"MISSION_DISABLED_PLUGINS={report.name}.",
                )
