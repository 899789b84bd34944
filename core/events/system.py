"""The stream of what concerns the server itself and no session: `system:<node>`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ..clock import Micros
from ..errors import Forbidden, Unavailable
from ..identity import SYSTEM, Caller
from ..storage.persistence import Persistence, Transaction
from .event import Event, NewEvent
from .follow import Followers
from .log import EventLog

NODE = "local"
NAME = f"system:{NODE}"


class SystemStream:
    """Appends to the stream and follows it. Only administrators may read it."""

    def __init__(self, persistence: Persistence, log: EventLog, followers: Followers) -> None:
        self._persistence = persistence
        self._log = log
        self._followers = followers
        self._number: int | None = None

    async def open(self) -> None:
        """Find the stream, or begin it."""

        async def unit(tx: Transaction) -> int:
            row = await tx.fetch_one("SELECT id FROM stream WHERE name = ?", (NAME,))
            return await self._log.open_stream(tx, NAME) if row is None else int(row["id"])

        self._number = await self._persistence.write(unit)

    async def append(self, tx: Transaction, events: Sequence[NewEvent], at: Micros) -> None:
        """Inside a unit, at its end."""
        await self._log.append(tx, self.number, SYSTEM.user_id, events, at)

    async def last_seq(self, caller: Caller) -> int:
        """The newest event's number.

        Raises:
            Forbidden: the caller is no administrator.
        """
        self._check(caller)
        return (await self._log.bounds(self.number))[1]

    async def follow(
        self, caller: Caller, *, after: int | None = None
    ) -> AsyncGenerator[Event, None]:
        """Events with `seq > after` (None: from now on), until closed or the server stops.

        Raises:
            Forbidden, CursorExpired: on the first `__anext__`.
        """
        self._check(caller)
        async with aclosing(self._followers.follow(self.number, after)) as events:
            async for event in events:
                yield event

    @property
    def number(self) -> int:
        if self._number is None:
            raise Unavailable("the server is starting; try again")
        return self._number

    def _check(self, caller: Caller) -> None:
        if not caller.is_admin:
            raise Forbidden("only an administrator may read what concerns the server")
