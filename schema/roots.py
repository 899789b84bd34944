"""The root types: each domain's fields, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Annotated

import strawberry

from ..core.chat.text import known_form
from ..core.errors import Forbidden, InvalidInput, NotFound
from .breaker import BreakerMutations
from .capability import Capability, CapabilityQueries
from .cleanup import CleanUpMutations
from .config import Config, ConfigQueries
from .context import Info
from .fields import field
from .fork import ForkMutations
from .governance import GovernanceQueries
from .health import HealthQueries
from .interrupt import Interrupt, InterruptQueries
from .memory import MemoryMutations, MemoryQueries
from .message import Message
from .message_changes import MessageMutations
from .metrics import MetricsQueries
from .node import Node, split_id
from .plugin import Plugin, PluginQueries
from .process import Process, ProcessQueries
from .prompt import Prompt, PromptQueries
from .request import RequestMutations
from .scheduling import SchedulingMutations
from .search import SearchQueries
from .session import Session, SessionQueries
from .session_changes import SessionMutations
from .submission import SubmissionMutations
from .subscription import Subscription
from .tool import Tool, ToolQueries
from .viewer import ViewerQueries

__all__ = ["Mutation", "Query", "Subscription"]

MAX_IDS = 100

_KINDS: Mapping[str, Callable[[Info, str], Awaitable[Node | None]]] = MappingProxyType(
    {
        kind.__name__: kind.find
        for kind in (
            Session, Message, Process, Interrupt, Capability, Tool, Config, Plugin, Prompt,
        )
    }
)  # fmt: skip
"""How things are found by the key in their global id, those of one level together."""


async def _found(info: Info, id: str) -> Node | None:
    kind, key = split_id(id) or ("", "")
    try:
        return await _KINDS[kind](info, known_form(kind, key)) if kind in _KINDS else None
    except (NotFound, Forbidden):  # no key of its kind, or not for the caller
        return None


@strawberry.type
class NodeQueries:
    @field("Anything by its global id; null with an error when there is none.")
    async def node(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="`id` of any type.")],
    ) -> Node | None:
        found = await _found(info, id)
        if found is None:
            raise NotFound("node", ascii(id[:50]))
        return found

    @field("Several things by their global ids, in their order; null for each that is not there.")
    async def nodes(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID],
            strawberry.argument(description=f"`id`s of any types: at most {MAX_IDS}."),
        ],
    ) -> list[Node | None]:
        if len(ids) > MAX_IDS:
            raise InvalidInput("ids", f"has {len(ids)} entries; send at most {MAX_IDS}")
        return list(await asyncio.gather(*(_found(info, id) for id in ids)))


@strawberry.type(description="Reading. Nothing here changes anything.")
class Query(
    NodeQueries,
    ViewerQueries,
    SessionQueries,
    SearchQueries,
    ProcessQueries,
    InterruptQueries,
    CapabilityQueries,
    ToolQueries,
    ConfigQueries,
    PluginQueries,
    PromptQueries,
    MemoryQueries,
    MetricsQueries,
    HealthQueries,
    GovernanceQueries,
):
    pass


@strawberry.type(
    description="Changing. What a client can act on when a change fails is a member of its result."
)
class Mutation(
    SessionMutations,
    MessageMutations,
    RequestMutations,
    SubmissionMutations,
    SchedulingMutations,
    ForkMutations,
    MemoryMutations,
    CleanUpMutations,
    BreakerMutations,
):
    pass
