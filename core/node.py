"""One server's running parts, started and stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from datetime import UTC, datetime
from types import TracebackType

from .alignment.evidence import EVIDENCE
from .alignment.indicator import AlignmentService
from .alignment.journal import JournalIndicators
from .capabilities import CapabilityRegistry
from .chat.service import ChatService
from .cleanup import CleanUp
from .errors import MissionError
from .events.feed import Feed
from .events.follow import Followers
from .events.hub import Hub
from .events.log import EventLog
from .events.service import EventService
from .events.system import SystemStream
from .health.checker import Check, make_checker
from .health.parts import dispatcher_check, hub_check, schema_check, writer_check
from .identity import SYSTEM
from .llm.factory import LLMFactory
from .memory.layers import MemoryLayers
from .memory.working import WorkingMemory
from .runtime import MissionRuntime
from .sampling import Sampler
from .storage.database import Database
from .storage.lease import DatabaseHeld, LeaseHeld
from .storage.persistence import DatabaseAway
from .tokens.service import TokenService
from .tools.calls import RollUp
from .tools.governor import ToolGovernor
from .tools.health import ToolHealthService
from .tower.control_tower import ControlTower
from .tower.inbox import Inbox
from .tower.memory_change import MemoryChanges
from .tower.metrics import take_sample

STAND_BY_SECONDS = 0.5
"""Between two looks at a database that another server uses; each takes a few seconds itself."""


class Node:
    """Everything that runs on one data folder. Two can live in one process, on two folders."""

    def __init__(
        self,
        runtime: MissionRuntime,
        capabilities: CapabilityRegistry,
        checks: Mapping[str, Check] | None = None,
    ) -> None:
        """`checks`, by component, are asked for readiness beside the node's own."""
        self.runtime = runtime
        self.capabilities = capabilities
        self.database = runtime.persistence
        self._leased = self.database if isinstance(self.database, Database) else None
        self._hub = Hub()
        log = EventLog(self.database, self._hint)
        self.followers = Followers(log, self._hub)
        self.feed = Feed(log, self._hub)
        self.events = EventService(self.database, log, self.followers)
        self.system = SystemStream(self.database, log, self.followers)
        self.governor = ToolGovernor(
            self.database, runtime.tool_registry, runtime.breakers, self.system
        )
        self.roll_up = RollUp(self.database)
        self.tool_health = ToolHealthService(self.database, runtime.tool_registry)
        self.memory_layers = MemoryLayers(self.database)
        journal = JournalIndicators(runtime.settings, runtime.tool_registry, capabilities)
        self.alignment = AlignmentService(self.database, (EVIDENCE, *journal.specs()))
        self.working_memory = WorkingMemory(self.database)
        self.chat = ChatService(self.database, log)
        self.tokens = TokenService(self.database)
        self.tower = ControlTower(runtime, capabilities, self.chat, log)
        self.memory_changes = MemoryChanges(self.database, log, capabilities)
        self.inbox = Inbox(self.tower, self._hub)
        self.samples = Sampler(lambda: take_sample(self.database, self.tower.depth))
        self.cleanup = CleanUp(runtime.settings, self.database)
        self.health = make_checker(runtime, self.database, checks or {})
        self.health.register("schema", schema_check(self.database), timeout=2)
        self.health.register("writer", writer_check(self.database))
        self.health.register("hub", hub_check(self._hub), timeout=2)
        dispatcher = dispatcher_check(self.tower, runtime.settings.max_ready)
        self.health.register("dispatcher", dispatcher, timeout=1)
        self.started_at = datetime.now(UTC)
        self._begun = False
        self._started = AsyncExitStack()
        self._drained = False

    async def start(
        self,
        around: AbstractAsyncContextManager[object] | None = None,
        stand_by: Callable[[MissionError], None] | None = None,
    ) -> None:
        """Open the storage, start fan-out, enter `around`, take up unfinished work.

        `around` holds what processes rely on: it is left only when none runs any more. With
        `stand_by`, the end of another server on the same database is waited for, and the function
        told why after each look. A start that fails or is cancelled leaves nothing behind.

        Raises:
            LeaseHeld: another server uses the data folder, or the database.
            DatabaseUnusable: it cannot be opened, or a newer version has changed it.
            RuntimeError: it was started before. A node lives once.
        """
        if self._begun:
            raise RuntimeError("a node lives once: to serve this folder again, make another")
        self._begun = True
        async with AsyncExitStack() as started:
            await self._open(stand_by)
            started.push_async_callback(self._close)
            await self._hub.start()
            started.push_async_callback(self.health.close)
            await self.system.open()
            await self.governor.start()
            started.push_async_callback(self.governor.stop)
            self.roll_up.start()
            started.push_async_callback(self.roll_up.stop)
            await started.enter_async_context(around or nullcontext())
            started.push_async_callback(self.drain)
            await self.tower.start()
            self.cleanup.start(SYSTEM)
            self.chat.indexer.start()
            self._started = started.pop_all()

    @property
    def lost(self) -> str | None:
        """Why it can work never again: another server has taken its data."""
        return None if self._leased is None else self._leased.lost

    async def drain(self) -> None:
        """Take no more work, let what runs end or park it, then end every follower: the story of
        what was running has been told by then. `stop` does this too."""
        if self._drained:  # what would not end then would be waited for once more
            return
        await self.cleanup.stop()
        await self.chat.indexer.stop()
        await self.tower.stop()
        self.followers.close()
        self.inbox.close()
        self.samples.close()
        self._drained = True

    async def stop(self) -> None:
        """Drain what runs, park what does not finish in time, close."""
        await self._started.aclose()

    def _hint(self, stream: int, seq: int, user_id: str) -> None:
        self._hub.hint(stream, seq, user_id)
        self.chat.indexer.wake()
        self.chat.places.touch(user_id, stream)

    async def _open(self, stand_by: Callable[[MissionError], None] | None) -> None:
        waits = False
        while True:
            try:
                return await self.database.open()
            except (LeaseHeld, DatabaseAway) as error:
                # Whoever waits already waits on, also where the database is away for a while.
                waits = waits or isinstance(error, DatabaseHeld)
                if stand_by is None or not waits:
                    raise
                stand_by(error)
            await asyncio.sleep(STAND_BY_SECONDS)

    async def _close(self) -> None:
        await self._hub.stop()
        self.runtime.threads.close()
        if isinstance(factory := self.runtime.llm_provider_factory, LLMFactory):
            await factory.close()
        await self.database.close()

    async def __aenter__(self) -> Node:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
