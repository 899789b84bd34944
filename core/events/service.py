"""Events for clients: ownership, then the log."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from ..chat.paging import START, Window, decode_cursor
from ..chat.records import Page
from ..errors import CursorExpired, NotFound
from ..identity import Caller
from ..storage.persistence import Persistence
from .event import Event
from .follow import Followers
from .log import IN_ORDER, EventLog, event_from

ENDINGS = frozenset({"process.completed", "process.failed", "process.cancelled"})
QUESTIONS = frozenset({"interrupt.raised", "interrupt.resolved", "interrupt.expired"})


class EventService:
    """Reading and following, for one caller's own sessions and processes."""

    def __init__(self, persistence: Persistence, log: EventLog, followers: Followers) -> None:
        self._persistence = persistence
        self._log = log
        self._followers = followers

    async def read(
        self, caller: Caller, session_id: str, *, after: int = 0, limit: int = 100
    ) -> list[Event]:
        """One page of a session's events, oldest first."""
        return await self._log.read(await self._stream(caller, session_id), after, limit)

    async def list_events_of(
        self, caller: Caller, sessions: Sequence[int], window: Window = START
    ) -> dict[int, Page[Event]]:
        """A page of the events of each of these sessions, by `Session.id`, oldest first; of
        another's session none. A cursor is the event's `seq`.

        Raises:
            CursorExpired: retention has removed events that follow `window.after`.
        """
        await self._check_kept(sessions, window)
        found = await IN_ORDER.pages(
            self._persistence, "e.stream_id", sessions, "e.user_id = ?", (caller.user_id,), window
        )
        return {session: page.of(event_from) for session, page in found.items()}

    async def list_process_events_of(
        self, caller: Caller, streams: Mapping[str, int], window: Window = START
    ) -> dict[str, Page[Event]]:
        """The same of processes: `streams` has the session's number by pid. Reads the sessions'
        events from the first process on: no index leads to those of one process."""
        pids, sessions = list(streams), sorted(set(streams.values()))
        await self._check_kept(sessions, window)
        where = (
            f"e.user_id = ? AND e.stream_id IN ({_marks(sessions)}) AND e.seq >="  # noqa: S608
            f" (SELECT MIN(p.first_seq) FROM process p WHERE p.pid IN ({_marks(pids)}))"
        )
        params = (caller.user_id, *sessions, *pids)
        if len(pids) == 1:
            params, where = (*params, pids[0]), f"{where} AND e.pid = ?"
            one = await IN_ORDER.page(self._persistence, where, params, window)
            return {pids[0]: one.of(event_from)}
        found = await IN_ORDER.shares(self._persistence, "e.pid", pids, where, params, window)
        return {pid: page.of(event_from) for pid, page in found.items()}

    async def _check_kept(self, streams: Sequence[int], window: Window) -> None:
        if window.after is None:
            return
        (seq,) = decode_cursor(window.after, int)
        for stream in streams:  # a cursor is one stream's: in practice this is one
            oldest, _ = await self._log.bounds(stream)
            if int(seq) + 1 < oldest:
                raise CursorExpired(stream, oldest)

    async def last_seq(self, caller: Caller, session_id: str) -> int:
        """The newest event's number: the cursor to follow from, having read everything else."""
        return (await self._log.bounds(await self._stream(caller, session_id)))[1]

    async def follow_session(
        self, caller: Caller, session_id: str, *, after: int | None = None
    ) -> AsyncGenerator[Event, None]:
        """Events with `seq > after` (None: from now on), until closed, the server stops, or the
        session is removed for good.

        Raises:
            NotFound, CursorExpired: on the first `__anext__`.
        """
        stream = await self._stream(caller, session_id)
        async with aclosing(self._followers.follow(stream, after)) as events:
            async for event in events:
                yield event
                if event.type == "chat.session.deleted" and not event.payload["soft"]:
                    return

    async def follow_process(
        self, caller: Caller, pid: str, *, after: int = 0
    ) -> AsyncGenerator[Event, None]:
        """The process's own events with `seq > after`, to the one that ends it; and what becomes of
        the questions of those that it has spawned, so that its user hears them.

        Raises:
            NotFound, CursorExpired: on the first `__anext__`.
        """
        row = await self._persistence.fetch_one(
            "SELECT session_id, first_seq, state FROM process WHERE pid = ? AND user_id = ?",
            (pid, caller.user_id),
        )
        if row is None:
            raise NotFound("process", pid)
        after = max(after, row["first_seq"] - 1)
        ended = row["state"] in ("terminated", "zombie")
        if ended and not await self._goes_on(row["session_id"], pid, after):
            return
        family = await self._family(pid)
        async with aclosing(self._followers.follow(row["session_id"], after)) as events:
            async for event in events:
                if event.type == "process.created" and event.payload.get("parent_pid") in family:
                    family.add(event.pid)
                if event.pid == pid or (event.pid in family and event.type in QUESTIONS):
                    yield event
                if event.pid == pid and event.type in ENDINGS:
                    return

    async def _family(self, pid: str) -> set[str | None]:
        """The process, and all that it has spawned so far."""
        rows = await self._persistence.fetch_all(
            "WITH RECURSIVE tree(pid) AS (SELECT p.pid FROM process p WHERE p.pid = ?"
            " UNION ALL SELECT c.pid FROM process c JOIN tree t ON c.parent_pid = t.pid)"
            " SELECT pid FROM tree",
            (pid,),
        )
        return {row["pid"] for row in rows}

    async def _goes_on(self, stream: int, pid: str, after: int) -> bool:
        row = await self._persistence.fetch_one(
            "SELECT 1 FROM event WHERE stream_id = ? AND seq > ? AND pid = ? LIMIT 1",
            (stream, after, pid),
        )
        return row is not None

    async def _stream(self, caller: Caller, session_id: str) -> int:
        row = await self._persistence.fetch_one(
            "SELECT id FROM session WHERE user_id = ? AND public_id = ?",
            (caller.user_id, session_id),
        )
        if row is None:
            raise NotFound("session", session_id)
        stream: int = row["id"]
        return stream


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
