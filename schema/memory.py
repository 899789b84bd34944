"""Memory: what capabilities keep."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

import strawberry

from ..core.chat.text import MAX_ID
from ..core.errors import InvalidInput
from ..core.memory.working import MAX_KEY, MAX_KEYS, MAX_VALUE, StateEntry
from .arguments import maybe_text
from .context import Info
from .errors import Errors
from .fields import field, mutation
from .node import key_of
from .scalars import JSON


@strawberry.type(description="One key of a session's working memory.")
class WorkingState:
    capability: str = strawberry.field(description="Capability that keeps it.")
    key: str = strawberry.field(description="Name that the capability gave it.")
    value: JSON | None = strawberry.field(
        description="What is kept. Null is a value like any other."
    )
    updated_at: datetime = strawberry.field(description="When it was last set.")

    @classmethod
    def of(cls, entry: StateEntry) -> Self:
        return cls(
            capability=entry.capability,
            key=entry.key,
            value=entry.value,
            updated_at=entry.updated_at,
        )


@strawberry.input(description="A key of a session's working memory.")
class SetMemoryInput:
    session_id: strawberry.ID = strawberry.field(description="`Session.id` or `Session.sessionId`.")
    key: str = strawberry.field(description=f"Name: 1 to {MAX_KEY} characters.")
    value: JSON | None = strawberry.field(
        default=None,
        description=f"What to keep: of the type that the capability declares for the key, at most"
        f" {MAX_VALUE // 1024} KiB of JSON. Null is a value like any other.",
    )
    capability: str | None = strawberry.field(
        default=None,
        description="Capability that is to have it; null for the session's, then the server's"
        " default.",
    )
    remove: bool = strawberry.field(
        default=False, description="Whether to forget the key instead, whatever `value` says."
    )


@strawberry.type(description="The key was set or forgotten.")
class SetMemoryPayload:
    entry: WorkingState | None = strawberry.field(
        description="What is kept now; null when it was removed."
    )


SetMemoryResult = Annotated[
    SetMemoryPayload | Errors,
    strawberry.union("SetMemoryResult", description="What is kept, or why it was not changed."),
]


@strawberry.type
class MemoryQueries:
    @field(f"Working memory (L4) of a session, by capability and key: at most {MAX_KEYS} keys.")
    async def memory(
        self,
        info: Info,
        session_id: Annotated[
            strawberry.ID,
            strawberry.argument(description="`Session.id`, or `Session.sessionId`."),
        ],
        capability: Annotated[
            str | None,
            strawberry.argument(description="Only what this capability keeps; null for all."),
        ] = None,
    ) -> list[WorkingState] | None:
        context = info.context
        chosen = maybe_text("capability", capability, longest=MAX_ID)
        key = key_of(session_id, "Session")
        entries = await context.node.working_memory.entries(context.caller, key)
        return [WorkingState.of(each) for each in entries if chosen in (None, each.capability)]


@strawberry.type
class MemoryMutations:
    @mutation(
        "Set a key of a session's working memory, or forget it. What runs has read what it has"
        " read; later messages see the change. Of two writers the last one wins."
    )
    async def set_memory(
        self,
        info: Info,
        input: Annotated[SetMemoryInput, strawberry.argument(description="The change.")],
    ) -> SetMemoryResult:
        context = info.context
        changes, session_id = context.node.memory_changes, key_of(input.session_id, "Session")
        capability = maybe_text("capability", input.capability)
        if input.remove:
            await changes.remove(context.caller, session_id, input.key, capability)
            return SetMemoryPayload(entry=None)
        try:
            entry = await changes.set(
                context.caller, session_id, input.key, input.value, capability
            )
        except InvalidInput as error:
            raise _renamed(error, input.key) from None
        return SetMemoryPayload(entry=WorkingState.of(entry))


def _renamed(error: InvalidInput, key: str) -> InvalidInput:
    """The core speaks of `state.<key>`; here that is the input's `value`."""
    place = f"state.{key}"
    if error.field == place or error.field.startswith(f"{place}."):
        return InvalidInput("value" + error.field[len(place) :], error.text)
    return error
