"""What is seen of processes and their questions, each caller's own only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ..chat.paging import START, Window
from ..chat.records import Page
from ..errors import Forbidden, NotFound
from ..identity import Caller
from ..storage.persistence import Persistence
from .idempotency import read_context
from .interrupt_store import InterruptStore
from .metrics import TowerMetrics, read_metrics
from .model_usage import ModelUsage, usage_by_model
from .process import Interrupt, InterruptKind, InterruptStatus, ProcessControlBlock, Step
from .store import ProcessStore
from .timeline import list_steps, list_steps_of
from .usage import UsageTotal, total_usage, usage_of_sessions


class Views:
    """The reading half of the Control Tower."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence
        self._store = ProcessStore(persistence)
        self._interrupts = InterruptStore(persistence)

    async def get(self, caller: Caller, pid: str) -> ProcessControlBlock:
        """By pid or request id."""
        process = await self._store.find(caller.user_id, pid)
        if process is None:
            raise NotFound("process", pid)
        return process

    async def has_asked(
        self, process: ProcessControlBlock, kinds: Collection[InterruptKind]
    ) -> bool:
        """Whether it, or a process below it, ever asked such a question, answered or not."""
        return await self._interrupts.has_asked(process.pid, kinds)

    async def context_of(self, caller: Caller, pid: str) -> dict[str, Any]:
        """What the request of a process gave beside its message; empty where there is none."""
        return await read_context(self._persistence, caller.user_id, pid)

    async def get_anyones(self, id: str) -> ProcessControlBlock:
        """By pid, by the id of one of its questions, or by request id; for surfaces, and callers,
        that may see whoever's."""
        process = await self._store.find_anyones(id)
        if process is None:
            raise NotFound("process", id)
        return process

    async def metrics(self) -> TowerMetrics:
        """What there is and was, in numbers, over all users."""
        return await read_metrics(self._persistence)

    async def usage(self, caller: Caller, session_id: str | None = None) -> UsageTotal:
        """What the caller's processes have used: of one session, or of all. Raises NotFound."""
        return await total_usage(self._persistence, caller.user_id, session_id)

    async def usage_of(self, caller: Caller, sessions: Sequence[int]) -> dict[int, UsageTotal]:
        """What the caller's processes have used in each of these sessions, by `Session.id`."""
        return await usage_of_sessions(self._persistence, caller.user_id, sessions)

    async def system_usage(self, caller: Caller) -> UsageTotal:
        """What everybody's processes have used. Raises Forbidden unless an administrator asks."""
        if not caller.is_admin:
            raise Forbidden("only an administrator sees what the work of others costs")
        return await total_usage(self._persistence)

    async def model_usage(self, caller: Caller) -> list[ModelUsage]:
        """What each model has replied to the caller's processes."""
        return await usage_by_model(self._persistence, caller.user_id)

    async def system_model_usage(self, caller: Caller) -> list[ModelUsage]:
        """What each has replied to everybody's. Raises Forbidden unless an administrator asks."""
        if not caller.is_admin:
            raise Forbidden("only an administrator sees what the work of others costs")
        return await usage_by_model(self._persistence)

    async def _governed(self, caller: Caller, pid: str) -> ProcessControlBlock:
        """The caller's own process, by pid or request id; or, for an administrator, anybody's, by
        its pid alone: several users may have chosen the same request id."""
        process = await self._store.find(caller.user_id, pid)
        if process is None and caller.is_admin:
            process = await self._store.find_anyones(pid)
            if process is not None and process.pid != pid:
                process = None
        if process is None:
            raise NotFound("process", pid)
        return process

    async def get_many(self, caller: Caller, pids: Sequence[str]) -> dict[str, ProcessControlBlock]:
        """Those of `pids` that are the caller's, by pid."""
        return await self._store.find_many(caller.user_id, pids)

    async def get_children(
        self, caller: Caller, pids: Sequence[str], *, first: int = 50, after: str | None = None
    ) -> dict[str, list[ProcessControlBlock]]:
        """What each of `pids` has spawned, by pid, oldest first; those that follow the child
        `after`."""
        return await self._store.children(caller.user_id, pids, first, after)

    async def list_processes(
        self, caller: Caller, window: Window = START, *, session_id: str | None = None
    ) -> Page[ProcessControlBlock]:
        """Newest first; of one session, or of all."""
        return await self._store.list_processes(caller.user_id, session_id, window)

    async def list_processes_of(
        self, caller: Caller, sessions: Sequence[int], window: Window = START
    ) -> dict[int, Page[ProcessControlBlock]]:
        """The same for several sessions at once, by `Session.id`; of another's session none."""
        return await self._store.list_of_sessions(caller.user_id, sessions, window)

    async def steps(
        self, caller: Caller, pid: str, *, first: int = 1000, after: str | None = None
    ) -> list[Step]:
        """The timeline of a process: its journaled steps in the order in which they began; those
        after the step of the key `after`.

        Raises:
            InvalidInput: the process has no step `after`.
        """
        process = await self.get(caller, pid)
        return await list_steps(self._persistence, process.pid, first, after)

    async def get_steps(
        self, caller: Caller, pids: Sequence[str], *, first: int = 100, after: str | None = None
    ) -> dict[str, list[Step]]:
        """The timelines of those of `pids` that are the caller's, by pid, each from its step of
        the key `after`; none for a process without a step, or without that one."""
        return await list_steps_of(self._persistence, caller.user_id, pids, first, after)

    async def get_interrupt(self, caller: Caller, interrupt_id: str) -> Interrupt:
        """A question to the caller, open or not."""
        interrupt = await self._interrupts.find(caller.user_id, interrupt_id)
        if interrupt is None:
            raise NotFound("interrupt", interrupt_id)
        return interrupt

    async def list_interrupts(
        self,
        caller: Caller,
        window: Window = START,
        *,
        status: InterruptStatus = InterruptStatus.PENDING,
    ) -> Page[Interrupt]:
        """Questions to the caller in this status: open ones oldest first, others newest first."""
        return await self._interrupts.list_by_status(caller.user_id, status, window)

    async def get_interrupts(self, caller: Caller, ids: Sequence[str]) -> dict[str, Interrupt]:
        """Those of `ids` that are questions to the caller, open or not, by id."""
        return await self._interrupts.find_many(caller.user_id, ids)

    async def pending_interrupts(
        self, caller: Caller, *, first: int = 50, after: str | None = None
    ) -> list[Interrupt]:
        """Questions that wait for the caller, oldest first; those asked after the one of the id
        `after`, which itself may have been answered since."""
        return await self._interrupts.pending(caller.user_id, first, after)
