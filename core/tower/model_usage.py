"""Usage by model: what each has been asked, and what that has cost."""

from __future__ import annotations

from dataclasses import dataclass

from ..clock import Micros
from ..llm.prices import UNIT
from ..storage.persistence import Persistence, Transaction
from .usage import day_of

MOST = 200  # models listed

# By session, too: units of one session follow each other, so none waits for another's row.
_ADD = (
    "INSERT INTO model_usage (user_id, session_id, day, model, calls, tokens_in, tokens_out, cost)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, day, session_id, model) DO UPDATE SET"
    " calls = model_usage.calls + excluded.calls,"
    " tokens_in = model_usage.tokens_in + excluded.tokens_in,"
    " tokens_out = model_usage.tokens_out + excluded.tokens_out,"
    " cost = model_usage.cost + excluded.cost"
)
_SUMS = ", ".join(
    f"CAST(SUM({name}) AS BIGINT) AS {name}"
    for name in ("calls", "tokens_in", "tokens_out", "cost")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage:
    """What one model has replied to. `cost` is in the currency of the price table."""

    model: str
    calls: int
    tokens_in: int
    tokens_out: int
    cost: float


async def add_model_usage(
    tx: Transaction,
    user_id: str,
    session: int,
    model: str,
    tokens: tuple[int, int],
    cost: int,
    at: Micros,
    *,
    calls: int = 1,
) -> None:
    """Inside a unit: one reply of a model, or, where `calls` is 0, more of one."""
    await tx.execute(_ADD, (user_id, session, day_of(at), model, calls, *tokens, cost))


async def usage_by_model(
    persistence: Persistence, user_id: str | None = None, *, most: int = MOST
) -> list[ModelUsage]:
    """Of a user, or of all, the most expensive first; no more than `most`."""
    found = "system_model_usage"
    params: list[str | int] = [most]
    if user_id is not None:
        found, params = "model_usage WHERE user_id = ?", [user_id, most]
    rows = await persistence.fetch_all(
        f"SELECT model, {_SUMS} FROM {found} GROUP BY model"  # noqa: S608
        " ORDER BY SUM(cost) DESC, SUM(tokens_in + tokens_out) DESC, model LIMIT ?",
        params,
    )
    return [
        ModelUsage(
            model=row["model"],
            calls=row["calls"],
            tokens_in=row["tokens_in"],
            tokens_out=row["tokens_out"],
            cost=row["cost"] / UNIT,
        )
        for row in rows
    ]
