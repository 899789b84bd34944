"""Keeps the breakers of the tools: stores and tells every change, and takes people's orders."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from functools import partial

import structlog

from ..chat.text import checked
from ..clock import SECOND, Micros, now
from ..errors import Conflict, Forbidden, NotFound
from ..events.event import NewEvent
from ..events.system import SystemStream
from ..identity import Caller
from ..storage.failures import storage_failed
from ..storage.persistence import Persistence, Transaction
from .breaker import FAILED, FAILURES, WINDOW, Breaker, BreakerState, Change
from .breakers import Breakers
from .calls import MINUTE
from .spec import ToolRegistry

MAX_REASON = 500
AGAIN_SECONDS = 1.0
log = structlog.get_logger(__name__)

_STORE = (
    "INSERT INTO breaker (tool, state, reason, changed_at, changed_by) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (tool) DO UPDATE SET state = excluded.state, reason = excluded.reason,"
    " changed_at = excluded.changed_at, changed_by = excluded.changed_by"
)
_FAILURES = (
    "SELECT tool, start AS at, failures FROM tool_window WHERE span = ? AND start >= ?"
    " AND failures > 0 UNION ALL SELECT tool, started_at AS at, 1 AS failures FROM tool_call"
    " WHERE started_at >= ? AND status IN (?, ?) ORDER BY at"
)


class ToolGovernor:
    """The breakers of one node, from its start to its stop.

    What the server changes by itself counts at once and is stored right after; a crash between
    loses no failed call, for each attempt is stored too. What a person orders counts from the
    moment it is stored, also where the person has gone away meanwhile, and over whatever else has
    happened to that breaker until then. Either is told on the system's stream in the same unit.
    """

    def __init__(
        self,
        persistence: Persistence,
        tools: ToolRegistry,
        breakers: Breakers,
        stream: SystemStream,
    ) -> None:
        self.breakers = breakers
        self._persistence = persistence
        self._tools = tools
        self._stream = stream
        self._changes: deque[Change] = deque()
        self._batch: list[Change] = []
        """What is being stored: the same until it is, so that a retry can see that it was."""
        self._orders: set[asyncio.Task[Breaker]] = set()
        self._wake = asyncio.Event()
        self._order = asyncio.Lock()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        breakers.changed = self._notice

    # life

    async def start(self) -> None:
        """Take up the breakers as an earlier server has left them."""
        rows = await self._persistence.fetch_all("SELECT * FROM breaker")
        since: defaultdict[str, Micros] = defaultdict(int)
        for row in rows:
            since[row["tool"]] = row["changed_at"]
            self.breakers.restore(
                Breaker(
                    row["tool"],
                    self.breakers.rules.cooldown,
                    BreakerState(row["state"]),
                    row["changed_at"],
                    row["reason"],
                    row["changed_by"],
                )
            )
        for tool, times in (await self._failures(since)).items():
            self.breakers.recall(tool, times)
        self._task = asyncio.create_task(self._run(), name="tool-governor")

    async def stop(self) -> None:
        """Store what has changed, then stop."""
        if self._orders:
            await asyncio.wait(self._orders)
        if self._task is not None:
            self._closing = True
            self._wake.set()
            await self._task
            self._task = None

    # orders

    async def reset(self, caller: Caller, tool: str) -> Breaker:
        """Close a breaker that is open or half-open.

        Raises:
            Forbidden, NotFound
            Conflict: it is closed already, or quarantined: that is released.
        """
        return await self._ordered(
            caller, tool, BreakerState.CLOSED, "reset", (BreakerState.OPEN, BreakerState.HALF_OPEN)
        )

    async def quarantine(self, caller: Caller, tool: str, reason: str) -> Breaker:
        """Refuse every call of a tool until it is released, whatever the policy says.

        Raises:
            Forbidden, NotFound, InvalidInput
            Conflict: it is quarantined already.
        """
        checked("reason", reason, longest=MAX_REASON)
        states = tuple(state for state in BreakerState if state is not BreakerState.QUARANTINED)
        return await self._ordered(caller, tool, BreakerState.QUARANTINED, reason, states)

    async def release(self, caller: Caller, tool: str) -> Breaker:
        """Let a quarantined tool be called again.

        Raises:
            Forbidden, NotFound
            Conflict: it is not quarantined.
        """
        return await self._ordered(
            caller, tool, BreakerState.CLOSED, "released", (BreakerState.QUARANTINED,)
        )

    def all(self) -> list[Breaker]:
        """One for each registered tool, and those of tools that are not registered any more but
        whose breaker is not closed; by name."""
        names = {spec.name for spec in self._tools}
        names |= {each.tool for each in self.breakers if each.state is not BreakerState.CLOSED}
        return [self.breakers.get(name) for name in sorted(names)]

    async def _ordered(
        self,
        caller: Caller,
        tool: str,
        state: BreakerState,
        reason: str,
        allowed: tuple[BreakerState, ...],
    ) -> Breaker:
        if not caller.is_admin:
            raise Forbidden("only an administrator may govern tools")
        if tool not in {each.tool for each in self.all()}:
            raise NotFound("tool", tool)
        # A task of its own: were the caller's cancelled, others would write while the order is.
        order = asyncio.create_task(
            self._carry_out(tool, state, reason, allowed, caller.user_id), name="breaker-order"
        )
        self._orders.add(order)
        order.add_done_callback(self._carried_out)
        return await asyncio.shield(order)

    async def _carry_out(
        self,
        tool: str,
        state: BreakerState,
        reason: str,
        allowed: tuple[BreakerState, ...],
        user_id: str,
    ) -> Breaker:
        async with self._order:
            breaker = self.breakers.get(tool)
            while self._batch or self._changes:  # told in the order in which they happened
                await self._flush()
                breaker = self.breakers.get(tool)
            if breaker.state not in allowed:
                raise Conflict(_refusal(tool, breaker.state))
            change = Change(tool, breaker.state, state, reason, now(), user_id)

            async def unit(tx: Transaction) -> None:
                tx.after_commit(partial(self._enforce, change))
                await self._store([change], tx)

            await self._persistence.write(unit)
        return self.breakers.get(tool)

    def _enforce(self, change: Change) -> None:
        """An order is stored. What else has changed its breaker meanwhile must not be stored over
        it, and is not told: the order was given before it."""
        others = [each for each in self._changes if each.tool != change.tool]
        self._changes = deque(others)
        self.breakers.change(change.tool, change.after, change.reason, change.at, change.by)
        self._wake.set()

    def _carried_out(self, order: asyncio.Task[Breaker]) -> None:
        self._orders.discard(order)
        if not order.cancelled():
            order.exception()  # its caller may have been cancelled

    # storing

    def _notice(self, change: Change) -> None:
        self._changes.append(change)
        self._wake.set()

    async def _run(self) -> None:
        while not self._closing:
            await self._pause()
            self._wake.clear()
            self.breakers.cool()
            try:
                async with self._order:
                    await self._flush()
            except Exception as error:
                if not storage_failed(error):
                    log.exception("changes of breakers could not be stored; trying again")
                await asyncio.sleep(0 if self._closing else AGAIN_SECONDS)
                self._wake.set()

    async def _pause(self) -> None:
        """Until something has changed, or a cool-down is over."""
        cooled = self.breakers.next_cooled()
        seconds = None if cooled is None else max(0.0, (cooled - now()) / SECOND)
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _flush(self) -> None:
        while self._batch or self._changes:
            if not self._batch:
                self._batch = list(self._changes)
                self._changes.clear()
            await self._persistence.write(partial(self._store, self._batch))
            self._batch = []

    async def _store(self, changes: list[Change], tx: Transaction) -> None:
        last = changes[-1]
        stored = await tx.fetch_one(
            "SELECT 1 FROM breaker WHERE tool = ? AND changed_at = ? AND state = ?",
            (last.tool, last.at, last.after.value),
        )
        if stored is not None:  # by an earlier try of this unit, which was committed after all
            return
        for each in changes:
            await tx.execute(_STORE, (each.tool, each.after.value, each.reason, each.at, each.by))
        for each in changes:
            await self._stream.append(tx, [_told(each)], each.at)

    async def _failures(self, since: defaultdict[str, Micros]) -> dict[str, list[Micros]]:
        """When calls of the last minutes failed, by tool, of those after its breaker's change."""
        begin = now() - WINDOW
        rows = await self._persistence.fetch_all(
            _FAILURES, (MINUTE, begin // MINUTE * MINUTE, begin, *FAILED)
        )
        times: defaultdict[str, list[Micros]] = defaultdict(list)
        for row in rows:
            if row["at"] > since[row["tool"]]:
                times[row["tool"]] += [row["at"]] * min(row["failures"], FAILURES)
        return times


def _told(change: Change) -> NewEvent:
    payload = {
        "tool": change.tool,
        "from": change.before.value,
        "to": change.after.value,
        "reason": change.reason,
        "by": change.by,
    }
    return NewEvent("breaker.changed", payload)


def _refusal(tool: str, state: BreakerState) -> str:
    match state:
        case BreakerState.QUARANTINED:
            return f"tool '{tool}' is quarantined: release it"
        case BreakerState.CLOSED:
            return f"the breaker of tool '{tool}' is closed: there is nothing to undo"
        case _:
            return f"tool '{tool}' is not quarantined: its breaker is {state}, which is reset"
