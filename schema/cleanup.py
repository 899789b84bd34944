"""Clean-up on demand, for admins."""

from __future__ import annotations

from typing import Annotated

import strawberry

from ..core.cleanup import MAX_DAYS, MAX_KEEP
from .context import Info
from .errors import Errors
from .fields import mutation
from .scalars import Long


@strawberry.input(description="What to keep.")
class CleanUpInput:
    days: int | None = strawberry.field(
        default=None,
        description=f"Days for which ended processes and events are kept: 0 to {MAX_DAYS}; null"
        " for the server's setting.",
    )
    keep: int | None = strawberry.field(
        default=None,
        description=f"Ended requests that each session keeps: 0 to {MAX_KEEP}; null for the"
        " server's setting.",
    )


@strawberry.type(description="What was removed. Messages stay.")
class CleanUpPayload:
    processes: Long = strawberry.field(description="Processes, those that were spawned included.")
    steps: Long = strawberry.field(description="Journaled steps, and calls outside any process.")
    events: Long = strawberry.field(description="Events, from the beginnings of sessions.")


CleanUpResult = Annotated[
    CleanUpPayload | Errors,
    strawberry.union("CleanUpResult", description="What was removed, or why nothing was."),
]


@strawberry.type
class CleanUpMutations:
    @mutation("Remove what is old, of all users. For admins; the server does it by itself as well.")
    async def clean_up(
        self,
        info: Info,
        input: Annotated[CleanUpInput, strawberry.argument(description="What to keep.")],
    ) -> CleanUpResult:
        context = info.context
        removed = await context.node.cleanup.clean_up(
            context.caller, days=input.days, keep=input.keep
        )
        return CleanUpPayload(
            processes=Long(removed.processes),
            steps=Long(removed.steps),
            events=Long(removed.events),
        )
