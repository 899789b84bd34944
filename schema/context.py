"""What every resolver is given: the server's parts, who asks, and batched reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import strawberry
from strawberry.dataloader import DataLoader

if TYPE_CHECKING:
    from ..core.chat.records import Message, Session
    from ..core.identity import Caller
    from ..core.node import Node
    from ..core.tower.process import ProcessControlBlock, Step
    from ..plugins.loader import PluginHost

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
ChildrenOf = tuple[str, int, str | None]
"""(pid of the parent, how many, pid of the child after which to go on)"""


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
    def children(self) -> DataLoader[ChildrenOf, list[ProcessControlBlock] | None]:
        """Children of processes, read in one query per level of a response and page asked for."""

        async def read(keys: list[ChildrenOf]) -> dict[ChildrenOf, list[ProcessControlBlock]]:
            found: dict[ChildrenOf, list[ProcessControlBlock]] = {}
            for first, after in {key[1:] for key in keys}:
                pids = [key[0] for key in keys if key[1:] == (first, after)]
                page = await self.node.tower.get_children(
                    self.caller, pids, first=first, after=after
                )
                found |= {(pid, first, after): children for pid, children in page.items()}
            return found

        return _batched(read)

    @cached_property
    def steps(self) -> DataLoader[tuple[str, int], list[Step] | None]:
        """The first steps of processes, read in one query per level of a response and page size."""

        async def read(keys: list[tuple[str, int]]) -> dict[tuple[str, int], list[Step]]:
            found: dict[tuple[str, int], list[Step]] = {}
            for first in {first for _, first in keys}:
                pids = [pid for pid, size in keys if size == first]
                page = await self.node.tower.get_steps(self.caller, pids, first=first)
                found |= {(pid, first): steps for pid, steps in page.items()}
            return found

        return _batched(read)

    @cached_property
    def sessions(self) -> DataLoader[str, Session | None]:
        """Sessions by id, read in one query per level of a response."""
        return _batched(lambda ids: self.node.chat.get_sessions(self.caller, ids))

    @cached_property
    def messages(self) -> DataLoader[int, Message | None]:
        """Messages by id, read in one query per level of a response."""
        return _batched(lambda ids: self.node.chat.get_messages(self.caller, ids))


Info = strawberry.Info[Context, None]


def _batched(read: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> DataLoader[K, V | None]:
    async def load(keys: list[K]) -> list[V | None]:
        found = await read(list(dict.fromkeys(keys)))
        return [found.get(key) for key in keys]

    # A WebSocket's context lives as long as the connection: a cache would serve old states.
    return DataLoader(load_fn=load, cache=False)
