"""Capabilities: the applications that this server serves."""

from __future__ import annotations

from typing import Self

import strawberry

from ..core.capabilities import OrchestratorSpec
from ..core.errors import InvalidInput, NotFound
from .context import Info
from .fields import field
from .node import Node, global_id


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
    async def load(cls, info: Info, key: str) -> Self:
        for capability in cls.all(info):
            if capability.name == key:
                return capability
        raise NotFound("capability", key)


@strawberry.type
class CapabilityQueries:
    @field("The capabilities being served, by name.")
    def capabilities(self, info: Info) -> list[Capability]:
        return Capability.all(info)
