"""Places in the line for running slots."""

from __future__ import annotations

from typing import Annotated

import strawberry

from ..core.tower.process import SchedulingPriority
from .context import Info
from .errors import Errors
from .fields import mutation
from .node import key_of
from .process import Process


@strawberry.input(description="Another place in the line.")
class SetPriorityInput:
    process_id: strawberry.ID = strawberry.field(
        description="`Process.id`, `Process.pid` or `Process.requestId`."
    )
    priority: SchedulingPriority = strawberry.field(description="The new priority.")


@strawberry.type(description="The process has the priority; how long it has waited counts on.")
class SetPriorityPayload:
    process: Process = strawberry.field(description="The process, in line.")


SetPriorityResult = Annotated[
    SetPriorityPayload | Errors,
    strawberry.union("SetPriorityResult", description="The process, or why it keeps its place."),
]


@strawberry.type
class SchedulingMutations:
    @mutation("Give a process in line another priority.")
    async def set_priority(
        self,
        info: Info,
        input: Annotated[SetPriorityInput, strawberry.argument(description="The place.")],
    ) -> SetPriorityResult:
        context = info.context
        pid = key_of(input.process_id, "Process")
        record = await context.node.tower.set_priority(context.caller, pid, input.priority)
        return SetPriorityPayload(process=Process.of(record))
