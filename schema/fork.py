"""Forks: another try from the middle of a process."""

from __future__ import annotations

from typing import Annotated

import strawberry

from ..core.chat.text import MAX_MESSAGE, checked
from .context import Info
from .errors import Errors
from .fields import mutation
from .node import key_of
from .process import Process


@strawberry.input(description="Where a process is to be taken up anew.")
class ForkProcessInput:
    process_id: strawberry.ID = strawberry.field(
        description="`Process.id`, `Process.pid` or `Process.requestId`."
    )
    steps: int = strawberry.field(
        description="How many of its finished steps the fork shares, in the order of"
        " `Process.steps`: 0 or more, at most all of them. They are not done again."
    )
    text: str | None = strawberry.field(
        default=None,
        description=f"Another message in place of the original: 1 to {MAX_MESSAGE} characters;"
        " null keeps it.",
    )


@strawberry.type(description="The fork was stored and put in line.")
class ForkProcessPayload:
    process: Process = strawberry.field(
        description="The fork, in a session of its own that starts with what had been said before."
    )


ForkProcessResult = Annotated[
    ForkProcessPayload | Errors,
    strawberry.union("ForkProcessResult", description="The fork, or why there is none."),
]


@strawberry.type
class ForkMutations:
    @mutation("Start a process that shares the first steps of another and goes on from there.")
    async def fork_process(
        self,
        info: Info,
        input: Annotated[ForkProcessInput, strawberry.argument(description="What to fork.")],
    ) -> ForkProcessResult:
        context = info.context
        pid = key_of(input.process_id, "Process")
        text = input.text
        message = None if text is None else checked("text", text, longest=MAX_MESSAGE)
        record = await context.node.tower.fork_process(
            context.caller, pid, steps=input.steps, message=message
        )
        return ForkProcessPayload(process=Process.of(record))
