"""What is changed of a process that is under way: its place in the line, its quota."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry.utils.str_converters import to_camel_case

from ..core.errors import InvalidInput
from ..core.tower.process import SchedulingPriority
from .context import Info
from .errors import Errors
from .fields import mutation
from .node import key_of
from .process import Process
from .usage import AdjustQuotaInput, Quota


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


@strawberry.type(description="The quota was changed; what runs goes on under it.")
class AdjustQuotaPayload:
    pid: str = strawberry.field(description="`Process.pid` of the process.")
    quota: Quota = strawberry.field(description="What it may use now.")
    process: Process | None = strawberry.field(
        description="The process, under its new quota; null where it is another user's, whose work"
        " an administrator governs and does not see."
    )


AdjustQuotaResult = Annotated[
    AdjustQuotaPayload | Errors,
    strawberry.union("AdjustQuotaResult", description="The quota, or why it stays."),
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

    @mutation(
        "Change limits of a process that has not ended. Its owner may lower them; an administrator"
        " may raise them too, also of others' processes."
    )
    async def adjust_quota(
        self,
        info: Info,
        input: Annotated[AdjustQuotaInput, strawberry.argument(description="The limits.")],
    ) -> AdjustQuotaResult:
        context = info.context
        pid = key_of(input.process_id, "Process")
        tower = context.node.tower
        try:
            record = await tower.adjust_quota(context.caller, pid, **input.changes())
        except InvalidInput as error:
            raise InvalidInput(to_camel_case(error.field), error.text) from None
        is_own = record.user_id == context.caller.user_id
        return AdjustQuotaPayload(
            pid=record.pid,
            quota=Quota.of(record.quota),
            process=Process.of(record) if is_own else None,
        )
