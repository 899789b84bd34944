"""What models take: counted in step, process, user and model at once, as soon as it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..chat.text import MAX_ID, storable
from ..clock import Micros
from ..events.event import NewEvent
from ..llm.prices import UNIT, cost_of
from ..llm.provider import LLMUsage
from ..storage.persistence import Transaction
from .model_usage import add_model_usage

if TYPE_CHECKING:
    from .effects import Run

NOTHING = LLMUsage()


class Tab:
    """What one attempt of a model call has taken so far.

    Each time a vendor says more, the difference goes into the usage of the process and, with the
    same unit, into the step and the model: wherever a reply is cut off, all of them have the same.
    """

    def __init__(self, run: Run, key: str) -> None:
        self._run = run
        self._key = key
        self._said: dict[str, LLMUsage] = {}

    def hear(self, model: str, usage: LLMUsage | None) -> None:
        """A reply of this model has taken `usage` until now; None or nothing where no more is
        known. `model` is empty where nobody bills."""
        model = storable(model)[:MAX_ID]
        before = self._said.get(model)
        after = self._said[model] = before or NOTHING if usage in (None, NOTHING) else usage
        if after != before:
            self._count(model, before, after)

    def lose(self, model: str, usage: LLMUsage) -> None:
        """A reply has failed after it had taken `usage`; the next one of its model is another."""
        self.hear(model, usage)
        del self._said[storable(model)[:MAX_ID]]

    def _count(self, model: str, before: LLMUsage | None, after: LLMUsage) -> None:
        run, key, calls = self._run, self._key, int(before is None)
        before = before or NOTHING
        prices = run.runtime.settings.llm_prices
        tokens = (after.tokens_in - before.tokens_in, after.tokens_out - before.tokens_out)
        cost = cost_of(prices, model, after) - cost_of(prices, model, before)
        owner = run.owner

        async def write(tx: Transaction, at: Micros) -> list[NewEvent]:
            await tx.execute(
                "UPDATE step SET tokens_in = tokens_in + ?, tokens_out = tokens_out + ?,"
                " cost = cost + ?, model = COALESCE(?, model) WHERE process_id = ? AND key = ?",
                (*tokens, cost, model or None, owner.pid, key),
            )
            if model:
                await add_model_usage(
                    tx, owner.user_id, owner.stream, model, tokens, cost, at, calls=calls
                )
            return []

        run.meter.take(*tokens, cost)  # no await in between: both are in the next unit
        run.ledger.put(write)


async def completed(tx: Transaction, pid: str, key: str, attempt: int, failed: bool) -> NewEvent:
    """Inside a unit: the end of a model call, with all that its step has taken."""
    row = await tx.fetch_one(
        "SELECT tokens_in, tokens_out, model, cost FROM step WHERE process_id = ? AND key = ?",
        (pid, key),
    )
    payload: dict[str, Any] = {"step": key, "attempt": attempt}
    if row is not None and (not failed or row["tokens_in"] or row["tokens_out"]):
        payload |= {"tokens_in": row["tokens_in"], "tokens_out": row["tokens_out"]}
    if row is not None and row["model"] is not None:
        payload |= {"model": row["model"], "cost": row["cost"] / UNIT}
    return NewEvent("llm.completed", payload, pid)
