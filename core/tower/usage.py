"""Usage: of one run, stored by what was added; of users, sessions and the system, by day."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import add, attrgetter, sub

from ..clock import SECOND, Micros, now
from ..errors import NotFound
from ..storage.persistence import Persistence, Row, Transaction
from .process import Quota, Usage

DAY: Micros = 86_400 * SECOND
_COUNTED = (
    "llm_calls",
    "tool_calls",
    "agent_hops",
    "iterations",
    "steps",
    "tokens_in",
    "tokens_out",
    "cost",
)
_counted = attrgetter(*_COUNTED)
COLUMNS = (*_COUNTED, "elapsed")
"""Of the process row, in the order of `Account.unsaved`."""
_TOTALS = ("processes", "llm_calls", "tool_calls", "tokens_in", "tokens_out", "cost", "elapsed")
_SUMS = ", ".join(f"CAST(COALESCE(SUM({name}), 0) AS BIGINT) AS {name}" for name in _TOTALS)
_ADD = (
    "INSERT INTO usage (user_id, session_id, day, processes, llm_calls, tool_calls, tokens_in,"  # noqa: S608
    " tokens_out, cost, elapsed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (user_id, day, session_id) DO UPDATE SET "
    + ", ".join(f"{name} = usage.{name} + excluded.{name}" for name in _TOTALS)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotal:
    """What many processes have used together. `elapsed_seconds` is running time only; `cost` is
    in billionths of the price table's currency."""

    processes: int
    llm_calls: int
    tool_calls: int
    tokens_in: int
    tokens_out: int
    cost: int
    elapsed_seconds: float


NO_USAGE = UsageTotal(
    processes=0, llm_calls=0, tool_calls=0, tokens_in=0, tokens_out=0, cost=0, elapsed_seconds=0.0
)


class Account:
    """What one run may use and has used, and how much of that is stored.

    `billed` is how much of each count is its children's; `lent`, what those that lived when the run
    began may use: what one that ends leaves of that comes back with the next run. `adjusted` is
    called when the quota is another one than before.
    """

    def __init__(
        self, quota: Quota, usage: Usage, billed: Mapping[str, int], lent: Mapping[str, int]
    ) -> None:
        self.quota = quota
        self.usage = usage
        self.billed = dict(billed)
        self.lent = dict(lent)
        self.adjusted: Callable[[], None] = _nothing
        self._text = quota.as_json()
        self._stored = _counts(usage)

    def unsaved(self) -> tuple[int, ...]:
        """What is to be added to the row, by column."""
        return tuple(map(sub, _counts(self.usage), self._stored))

    def saved(self, added: tuple[int, ...], row: Row) -> None:
        """The row is this now: with what was added, and with what others have changed."""
        stored = tuple(row[column] for column in COLUMNS)
        expected = tuple(map(add, self._stored, added))
        if stored != expected:
            for name, new, own in zip(COLUMNS, stored, expected, strict=True):
                if foreign := new - own:
                    self._add(name, foreign)
        self._stored = stored
        if row["quota"] != self._text:
            self._text = row["quota"]
            self.adjust(Quota.model_validate_json(row["quota"]))

    def adjust(self, quota: Quota) -> None:
        """Another quota counts from now on."""
        if quota != self.quota:
            self.quota = quota
            self.adjusted()

    def lend(self, before: Quota, after: Quota) -> None:
        """A child that lives has another quota."""
        for name, lent in self.lent.items():
            limit = f"max_{name}"
            self.lent[name] = max(0, lent + getattr(after, limit) - getattr(before, limit))

    def ignore_adjustments(self) -> None:
        """Nobody is there any more who would act on another quota."""
        self.adjusted = _nothing

    def _add(self, column: str, amount: int) -> None:
        if column == "elapsed":
            self.usage.elapsed_seconds += amount / SECOND
        else:
            setattr(self.usage, column, getattr(self.usage, column) + amount)
            self.billed[column] = self.billed.get(column, 0) + amount
            self.lent[column] = max(0, self.lent.get(column, 0) - amount)


def day_of(at: Micros) -> int:
    """The day, UTC, as a number."""
    return at // DAY


async def count_process(tx: Transaction, user_id: str, session: int, at: Micros) -> None:
    """Inside a unit: there is one more process."""
    await tx.execute(_ADD, (user_id, session, day_of(at), 1, 0, 0, 0, 0, 0, 0))


async def add_usage(
    tx: Transaction, user_id: str, session: int, added: tuple[int, ...], at: Micros
) -> None:
    """Inside a unit: what was added to the row of a process, by column."""
    amounts = dict(zip(COLUMNS, added, strict=True))
    totals = [amounts[name] for name in _TOTALS[1:]]
    if any(totals):
        await tx.execute(_ADD, (user_id, session, day_of(at), 0, *totals))


async def total_usage(
    persistence: Persistence, user_id: str | None = None, session_id: str | None = None
) -> UsageTotal:
    """Of one session of a user, of a user, or, of nobody in particular, of all.

    Raises:
        NotFound: the user has no such session.
    """
    params: list[str | int] = []
    if user_id is None:
        sql = f"SELECT {_SUMS} FROM system_usage"  # noqa: S608
    else:
        sql = f"SELECT {_SUMS} FROM usage WHERE user_id = ?"  # noqa: S608
        params.append(user_id)
    if session_id is not None:
        session = await persistence.fetch_one(
            "SELECT id FROM session WHERE user_id = ? AND public_id = ?", (user_id, session_id)
        )
        if session is None:
            raise NotFound("session", session_id)
        sql += " AND session_id = ?"
        params.append(session["id"])
    row = await persistence.fetch_one(sql, params)
    assert row is not None
    return _total(row)


async def usage_of_sessions(
    persistence: Persistence, user_id: str, sessions: Sequence[int]
) -> dict[int, UsageTotal]:
    """Of each of these sessions of a user, by number; of one that nothing was used in, none."""
    marks = ", ".join("?" * len(sessions))
    rows = await persistence.fetch_all(
        f"SELECT session_id, {_SUMS} FROM usage WHERE user_id = ? AND session_id IN ({marks})"  # noqa: S608
        " GROUP BY session_id",
        (user_id, *sessions),
    )
    return {row["session_id"]: _total(row) for row in rows}


def _total(row: Row) -> UsageTotal:
    counts = {name: row[name] for name in _TOTALS[:-1]}
    return UsageTotal(**counts, elapsed_seconds=row["elapsed"] / SECOND)


async def tokens_today(persistence: Persistence, user_id: str) -> int:
    """Tokens that the user's processes have used on this day, UTC."""
    row = await persistence.fetch_one(
        "SELECT CAST(COALESCE(SUM(tokens_in + tokens_out), 0) AS BIGINT) FROM usage"
        " WHERE user_id = ? AND day = ?",
        (user_id, day_of(now())),
    )
    return int(row[0]) if row is not None else 0


def _counts(usage: Usage) -> tuple[int, ...]:
    return (*_counted(usage), round(usage.elapsed_seconds * SECOND))


def _nothing() -> None: ...
