"""Tools: what capabilities can have done."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Self

import strawberry

from ..core.errors import NotFound
from ..core.tools.spec import ToolSpec
from .breaker import CircuitBreaker
from .context import Info
from .fields import field
from .governance import Hours, ToolHealth
from .node import Node, global_id, key_of
from .plugin import Plugin
from .scalars import JSON


@strawberry.enum(description="What a call of a tool may do.")
class ToolRisk(Enum):
    READ_ONLY = strawberry.enum_value("read_only", description="Nothing but look.")
    WRITE = strawberry.enum_value("write", description="Change things.")
    DESTRUCTIVE = strawberry.enum_value("destructive", description="Lose things for good.")


@strawberry.type(description="A function that capabilities call through the server.")
class Tool(Node):
    name: str = strawberry.field(description="Name to call it by.")
    description: str = strawberry.field(description="What it does.")
    risk: ToolRisk = strawberry.field(description="What a call may do.")
    timeout_seconds: float = strawberry.field(description="Seconds after which a call is given up.")
    is_idempotent: bool = strawberry.field(
        description="Whether a call that was under way at a crash may be made again."
    )
    parameters: JSON = strawberry.field(
        description="JSON Schema (2020-12) of its arguments, an object."
    )

    @field("How it has been doing lately.")
    async def health(self, info: Info, hours: Hours = 24) -> ToolHealth:
        summary = await info.context.tool_health.load(hours)
        return ToolHealth.of(next(each for each in summary.tools if each.tool_name == self.name))

    @field("Its circuit breaker.")
    def breaker(self, info: Info) -> CircuitBreaker:
        node, caller = info.context.node, info.context.caller
        return CircuitBreaker.of(node, node.governor.breakers.get(self.name), caller)

    @field("The plugin that brings it; null where the embedding program does.")
    def plugin(self, info: Info) -> Plugin | None:
        return Plugin.bringing(info, "tools", self.name)

    @classmethod
    def of(cls, spec: ToolSpec) -> Self:
        return cls(
            id=global_id("Tool", spec.name),
            name=spec.name,
            description=spec.description,
            risk=ToolRisk(spec.risk),
            timeout_seconds=spec.timeout,
            is_idempotent=spec.idempotent,
            parameters=JSON(spec.parameters),
        )

    @classmethod
    async def find(cls, info: Info, key: str) -> Self | None:
        spec = info.context.node.runtime.tool_registry.get(key)
        return cls.of(spec) if spec else None


@strawberry.type
class ToolQueries:
    @field("The tools of the installed plugins, by name.")
    def tools(self, info: Info) -> list[Tool]:
        registry = info.context.node.runtime.tool_registry
        return sorted((Tool.of(spec) for spec in registry), key=lambda tool: tool.name)

    @field("One tool; null with an error when there is none.")
    async def tool(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="`Tool.id`, or its name.")],
    ) -> Tool | None:
        tool = await Tool.find(info, key_of(id, "Tool"))
        if tool is None:
            raise NotFound("Tool", id)
        return tool
