"""The protocols of storage: reads by SQL, writes by units."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from ..errors import MissionError

T = TypeVar("T")
Params = Sequence[Any]


class DatabaseUnusable(MissionError):
    """The database cannot be opened."""

    code = "DATABASE_UNUSABLE"


class DatabaseAway(DatabaseUnusable):
    """The database cannot be reached, or lets nobody in; that may be over soon."""


class NothingStored(DatabaseUnusable):
    """No server of this version has stored anything there."""

    code = "NOTHING_STORED"

    def __init__(self, place: str, missing: str) -> None:
        super().__init__(
            f"nothing of this version is stored in {place}: there is no {missing}. Check --data,"
            " MISSION_DATA and MISSION_DATABASE_URL, or start a server there first."
        )


class Row(Protocol):
    """One row of a result, by column name or position."""

    def __getitem__(self, key: Any, /) -> Any: ...

    def keys(self) -> Any: ...


class Transaction(Protocol):
    """What a unit writes with. Placeholders are `?`; values are never put into the SQL text."""

    async def execute(self, sql: str, params: Params = ()) -> int:
        """Run one statement; the number of rows it changed."""
        ...

    async def execute_many(self, sql: str, rows: Iterable[Params]) -> None:
        """Run one statement for each row of values."""
        ...

    async def insert(self, sql: str, params: Params = ()) -> int:
        """Run one INSERT into a table with a generated `id`; that id."""
        ...

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None: ...

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]: ...

    async def lock(self, sql: str, params: Params = ()) -> None:
        """Hold the rows of this SELECT from one table until the unit ends, before reading what it
        then writes. For databases where units run at the same time; nothing elsewhere."""
        ...

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call this on the event loop once the unit is durable; never when it is rolled back."""
        ...


class Over:
    """What a transaction writes with, once its unit has ended."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("a unit is over: it writes nothing after it has returned")


Unit = Callable[[Transaction], Awaitable[T]]
"""A function that runs in one transaction and may be run again after an ambiguous failure.

It awaits its transaction and nothing else, and touches at most one stream."""


@runtime_checkable
class Persistence(Protocol):
    """Where everything is stored. A caller may bring its own."""

    async def open(self) -> None:
        """Take the storage, bring its schema up to date, make ready to serve."""
        ...

    async def close(self) -> None: ...

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        """The first row of a SELECT, outside any unit."""
        ...

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        """All rows of a SELECT, outside any unit."""
        ...

    async def write(self, unit: Unit[T]) -> T:
        """Run a unit; returns once it is durable. Goes on even if the caller is cancelled."""
        ...

    async def units_ended(self) -> None:
        """Return once every unit that has begun by now has ended: what it wrote can be read, and
        numbers that it was given are used or lost."""
        ...
