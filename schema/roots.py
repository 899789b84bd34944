"""The root types: each domain's fields, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Annotated

import strawberry

from ..core.chat.text import known_form
from ..core.errors import NotFound
from .breaker import BreakerMutations
from .capability import Capability, CapabilityQueries
from .cleanup import CleanUpMutations
from .context import Info
from .fields import field
from .fork import ForkMutations
from .governance import GovernanceQueries
from .health import HealthQueries
from .interrupt import Interrupt, InterruptQueries
from .message import Message
from .message_changes import MessageMutations
from .node import Node, split_id
from .plugin import PluginQueries
from .process import Process, ProcessQueries
from .prompt import PromptQueries
from .request import RequestMutations
from .scheduling import SchedulingMutations
from .search import SearchQueries
from .session import Session, SessionQueries
from .session_changes import SessionMutations
from .subscription import Subscription
from .viewer import ViewerQueries

__all__ = ["Mutation", "Query", "Subscription"]

_LOADERS: Mapping[str, Callable[[Info, str], Awaitable[Node]]] = MappingProxyType(
    {
        "Session": Session.load,
        "Message": Message.load,
        "Process": Process.load,
        "Interrupt": Interrupt.load,
        "Capability": Capability.load,
    }
)


@strawberry.type
class NodeQueries:
    @field("Anything by its global id; null with an error when there is none.")
    async def node(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="`id` of any type.")],
    ) -> Node | None:
        kind, key = split_id(id) or ("", "")
        if kind not in _LOADERS:
            raise NotFound("node", ascii(id[:50]))
        return await _LOADERS[kind](info, known_form(kind, key))


@strawberry.type(description="Reading. Nothing here changes anything.")
class Query(
    NodeQueries,
    ViewerQueries,
    SessionQueries,
    SearchQueries,
    ProcessQueries,
    InterruptQueries,
    CapabilityQueries,
    PluginQueries,
    PromptQueries,
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
    SchedulingMutations,
    ForkMutations,
    CleanUpMutations,
    BreakerMutations,
):
    pass
