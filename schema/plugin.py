"""Plugins: the distributions that bring capabilities, loaded or not."""

from __future__ import annotations

from typing import Self

import strawberry

from ..core.identity import Caller
from ..plugins.report import PluginReport, PluginStatus
from .context import Info
from .enums import describe
from .fields import field
from .node import Node, global_id

describe(
    PluginStatus,
    "What became of a plugin.",
    {
        PluginStatus.LOADED: "It is served.",
        PluginStatus.FAILED: "It is broken: see its reason.",
        PluginStatus.INCOMPATIBLE: "It is made for another version of the server.",
        PluginStatus.DISABLED: "The server's settings leave it out.",
    },
)


@strawberry.type(description="One installed plugin and what became of it.")
class Plugin(Node):
    name: str = strawberry.field(description="Name of its entry point.")
    distribution: str | None = strawberry.field(
        description="Distribution it comes from; null when the embedding program gave it."
    )
    version: str | None = strawberry.field(description="Version of the distribution.")
    status: PluginStatus = strawberry.field(description="Whether it is served.")
    reason: str | None = strawberry.field(
        description="Why it is not served; to all but administrators only that the server's log"
        " says it."
    )
    fix: str | None = strawberry.field(
        description="What to do about it; null to all but administrators."
    )
    tools: list[str] = strawberry.field(description="Names of the tools that it brings.")
    configs: list[str] = strawberry.field(description="Names of the configs that it brings.")
    prompts: list[str] = strawberry.field(description="Names of the prompts that it brings.")
    services: list[str] = strawberry.field(description="Names of the services that it brings.")
    capabilities: list[str] = strawberry.field(
        description="Names of the capabilities that it brings."
    )
    extended_types: list[str] = strawberry.field(
        description="Names of the types of this schema to which it adds fields."
    )
    llm_providers: list[str] = strawberry.field(
        description="Names of the LLM providers that it brings."
    )
    memory_layers: list[str] = strawberry.field(
        description="The layers of memory that it keeps, such as `L3`."
    )
    alignment_indicators: list[str] = strawberry.field(
        description="Names of the alignment indicators that it brings."
    )

    routes: list[str] = strawberry.field(
        description="Paths that it serves below `/plugins/<name>`."
    )
    event_observers: list[str] = strawberry.field(
        description="Names of its functions that are told of events."
    )
    readiness_checks: list[str] = strawberry.field(
        description="Names of what it adds to the checks of readiness, less `<name>.`."
    )
    commands: list[str] = strawberry.field(
        description="What it adds to the command line, below `mission <name>`."
    )

    @classmethod
    def all(cls, info: Info) -> list[Self]:
        host = info.context.plugins
        return [cls.of(report, info.context.caller) for report in host.reports] if host else []

    @classmethod
    async def find(cls, info: Info, key: str) -> Self | None:
        return next((each for each in cls.all(info) if each.name == key), None)

    @classmethod
    def bringing(cls, info: Info, what: str, name: str) -> Self | None:
        """The plugin in whose report this name is among `what`; the newest of a capability may
        be another's than an older one."""
        host = info.context.plugins
        reports = host.reports if host else ()
        found = [report for report in reports if name in getattr(report, what)]
        return cls.of(found[0], info.context.caller) if found else None

    @classmethod
    def of(cls, report: PluginReport, caller: Caller) -> Self:
        reason, fix = report.told(caller)
        return cls(
            id=global_id("Plugin", report.name),
            name=report.name,
            distribution=report.distribution,
            version=report.version,
            status=report.status,
            reason=reason,
            fix=fix,
            tools=list(report.tools),
            configs=list(report.configs),
            prompts=list(report.prompts),
            services=list(report.services),
            capabilities=list(report.orchestrators),
            extended_types=list(report.graphql),
            llm_providers=list(report.llm_providers),
            routes=list(report.routes),
            event_observers=list(report.event_observers),
            readiness_checks=list(report.readiness_checks),
            commands=list(report.commands),
            memory_layers=list(report.memory_layers),
            alignment_indicators=list(report.alignment_indicators),
        )


@strawberry.type
class PluginQueries:
    @field("The installed plugins in load order, broken ones included.")
    def plugins(self, info: Info) -> list[Plugin]:
        return Plugin.all(info)
