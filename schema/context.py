"""What every resolver is given: the server's parts, who asks, and batched reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import strawberry
from strawberry.dataloader import DataLoader

if TYPE_CHECKING:
    from ..core.chat.paging import Window
    from ..core.chat.records import Message, Page, Session
    from ..core.events.event import Event
    from ..core.identity import Caller
    from ..core.memory.working import StateEntry
    from ..core.node import Node
    from ..core.tools.health import HealthSummary
    from ..core.tower.process import Interrupt, ProcessControlBlock, Step
    from ..core.tower.usage import UsageTotal
    from ..plugins.host import PluginHost

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(eq=False)
class Context:
    """One request's, or one WebSocket connection's, view of the server.

    `plugins` is None where a program embeds a node without loading plugins.
    """

    node: Node
    caller: Caller
    plugins: PluginHost | None = None

    def batched(
        self, read: Callable[[Context, list[K]], Awaitable[Mapping[K, V]]]
    ) -> DataLoader[K, V | None]:
        """What loads by key, and reads all keys of one level of a response in one call of `read`;
        None for a key that is not in what it gives. For plugins.

        The same function has the same loader: give one of a module, not one made on the spot.
        """
        if read not in self._loaders:
            self._loaders[read] = _batched(lambda keys: read(self, keys))
        return self._loaders[read]

    @cached_property
    def _loaders(self) -> dict[object, DataLoader[Any, Any]]:
        return {}

    @cached_property
    def processes(self) -> DataLoader[str, ProcessControlBlock | None]:
        """Processes by pid, read in one query per level of a response."""
        return _batched(lambda pids: self.node.tower.get_many(self.caller, pids))

    @cached_property
    def children(
        self,
    ) -> DataLoader[tuple[str, int, str | None], list[ProcessControlBlock] | None]:
        """Children of processes: pid, how many, pid of the child after which to go on."""
        tower, caller = self.node.tower, self.caller
        return _by_part(
            lambda pids, first, after: tower.get_children(caller, pids, first=first, after=after)
        )

    @cached_property
    def steps(self) -> DataLoader[tuple[str, int, str | None], list[Step] | None]:
        """Steps of processes: pid, how many, key of the step after which to go on."""
        tower, caller = self.node.tower, self.caller
        return _by_part(
            lambda pids, first, after: tower.get_steps(caller, pids, first=first, after=after)
        )

    @cached_property
    def interrupts(self) -> DataLoader[str, Interrupt | None]:
        """Questions by id, read in one query per level of a response."""
        return _batched(lambda ids: self.node.tower.get_interrupts(self.caller, ids))

    @cached_property
    def session_messages(self) -> DataLoader[tuple[int, Window, bool], Page[Message] | None]:
        """Messages of sessions: session, window, and whether deleted ones are listed."""
        chat, caller = self.node.chat, self.caller
        return _by_part(
            lambda sessions, part, deleted: chat.list_messages_of(
                caller, sessions, part, include_deleted=deleted
            )
        )

    @cached_property
    def session_processes(self) -> DataLoader[tuple[int, Window], Page[ProcessControlBlock] | None]:
        """Processes of sessions: session, window."""
        tower, caller = self.node.tower, self.caller
        return _by_part(lambda sessions, part: tower.list_processes_of(caller, sessions, part))

    @cached_property
    def session_events(self) -> DataLoader[tuple[int, Window], Page[Event] | None]:
        """Events of sessions: session, window."""
        events, caller = self.node.events, self.caller
        return _by_part(lambda sessions, part: events.list_events_of(caller, sessions, part))

    @cached_property
    def process_events(self) -> DataLoader[tuple[tuple[str, int], Window], Page[Event] | None]:
        """Events of processes: pid and the number of its session, window."""
        events, caller = self.node.events, self.caller

        async def read(
            processes: list[tuple[str, int]], part: Window
        ) -> dict[tuple[str, int], Page[Event]]:
            streams = dict(processes)
            pages = await events.list_process_events_of(caller, streams, part)
            return {(pid, streams[pid]): page for pid, page in pages.items()}

        return _by_part(read)

    @cached_property
    def working_state(self) -> DataLoader[int, list[StateEntry] | None]:
        """Working memory by session."""
        return _batched(lambda ids: self.node.working_memory.entries_of(self.caller, ids))

    @cached_property
    def session_usage(self) -> DataLoader[int, UsageTotal | None]:
        """What was used, by session."""
        return _batched(lambda ids: self.node.tower.usage_of(self.caller, ids))

    @cached_property
    def sessions(self) -> DataLoader[str, Session | None]:
        """Sessions by id, read in one query per level of a response."""
        return _batched(lambda ids: self.node.chat.get_sessions(self.caller, ids))

    @cached_property
    def messages(self) -> DataLoader[int, Message | None]:
        """Messages by id, read in one query per level of a response."""
        return _batched(lambda ids: self.node.chat.get_messages(self.caller, ids))

    @cached_property
    def tool_health(self) -> DataLoader[int, HealthSummary]:
        """The health of all tools over so many hours, read once for all fields that show of it."""

        async def read(hours: list[int]) -> list[HealthSummary | BaseException]:
            asked = list(dict.fromkeys(hours))
            looked = (self.node.tool_health.summary(each) for each in asked)
            found = await asyncio.gather(*looked, return_exceptions=True)
            return [found[asked.index(each)] for each in hours]

        return DataLoader(load_fn=read, cache=False)


Info = strawberry.Info[Context, None]


def _by_part(read: Callable[..., Awaitable[Mapping[Any, V]]]) -> DataLoader[Any, V | None]:
    """Of many things, a part of what each has: keys are the thing, then what says which part.

    Takes one read for each part that is asked for: those of one field of an operation are alike.
    """

    async def load(keys: list[Any]) -> dict[Any, V]:
        found: dict[Any, V] = {}
        for part in dict.fromkeys(key[1:] for key in keys):
            things = [key[0] for key in keys if key[1:] == part]
            pages = await read(things, *part)
            found |= {(thing, *part): page for thing, page in pages.items()}
        return found

    return _batched(load)


def _batched(read: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> DataLoader[K, V | None]:
    async def load(keys: list[K]) -> list[V | None]:
        found = await read(list(dict.fromkeys(keys)))
        return [found.get(key) for key in keys]

    # A WebSocket's context lives as long as the connection: a cache would serve old states.
    return DataLoader(load_fn=load, cache=False)
