"""The viewer: on whose behalf the server is asked."""

from __future__ import annotations

from enum import Enum

import strawberry

from .context import Info
from .fields import field
from .usage import ModelUsage, UsageTotal


@strawberry.enum(description="What a caller may do.")
class ViewerRole(Enum):
    USER = strawberry.enum_value("user", description="See and change what is one's own.")
    ADMIN = strawberry.enum_value("admin", description="Govern the server as well.")
    SERVICE = strawberry.enum_value("service", description="Act for users that it names.")


@strawberry.type(description="On whose behalf the server is asked.")
class Viewer:
    user_id: str = strawberry.field(description="Owner of all that the caller sees.")
    role: ViewerRole = strawberry.field(description="What the caller may do.")

    @field("What the caller's processes have used, ever.")
    async def usage(self, info: Info) -> UsageTotal:
        context = info.context
        return UsageTotal.of(await context.node.tower.usage(context.caller))

    @field("The same by model, the most expensive first; at most 200.")
    async def model_usage(self, info: Info) -> list[ModelUsage]:
        context = info.context
        found = await context.node.tower.model_usage(context.caller)
        return [ModelUsage.of(each) for each in found]


@strawberry.type
class ViewerQueries:
    @field("On whose behalf the server is asked.")
    def viewer(self, info: Info) -> Viewer:
        caller = info.context.caller
        return Viewer(user_id=caller.user_id, role=ViewerRole(caller.role))

    @field(
        "What everybody's processes have used, ever, and at which cost. For administrators;"
        " `metrics` has the counts for everybody."
    )
    async def system_usage(self, info: Info) -> UsageTotal | None:
        context = info.context
        return UsageTotal.of(await context.node.tower.system_usage(context.caller))

    @field("The same by model, the most expensive first; at most 200. For administrators.")
    async def system_model_usage(self, info: Info) -> list[ModelUsage] | None:
        context = info.context
        found = await context.node.tower.system_model_usage(context.caller)
        return [ModelUsage.of(each) for each in found]
