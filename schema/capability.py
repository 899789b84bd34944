"""Capabilities: the applications that this server serves."""

from __future__ import annotations

from typing import Self

import strawberry

from ..core.capabilities import OrchestratorSpec
from ..core.errors import InvalidInput
from .context import Info
from .fields import field
from .node import Node, global_id
from .plugin import Plugin


@strawberry.type(description="An application that answers messages.")
class Capability(Node):
    name: str = strawberry.field(description="Name to ask for it by.")
    version: int = strawberry.field(
        description="Newest version served. A process keeps the version that it started with."
    )
    description: str = strawberry.field(description="What it is for.")
    max_concurrent: int = strawberry.field(
        description="How many of its processes run at once on one server."
    )
    is_default: bool = strawberry.field(
        description="Whether it answers messages that name no capability."
    )

    @field("The plugin that brings it; null where the embedding program does.")
    def plugin(self, info: Info) -> Plugin | None:
        return Plugin.bringing(info, "orchestrators", self.name)

    @classmethod
    def of(cls, spec: OrchestratorSpec, default: str | None) -> Self:
        return cls(
            id=global_id("Capability", spec.name),
            name=spec.name,
            version=spec.version,
            description=spec.description,
            max_concurrent=spec.max_concurrent,
            is_default=spec.name == default,
        )

    @classmethod
    def all(cls, info: Info) -> list[Self]:
        registry = info.context.node.capabilities
        try:
            default = registry.choose(None).name
        except InvalidInput:
            default = None  # several are served and none of them is the default
        return [cls.of(spec, default) for spec in registry]

    @classmethod
    async def find(cls, info: Info, key: str) -> Self | None:
        return next((each for each in cls.all(info) if each.name == key), None)


@strawberry.type
class CapabilityQueries:
    @field("The capabilities being served, by name.")
    def capabilities(self, info: Info) -> list[Capability]:
        return Capability.all(info)
