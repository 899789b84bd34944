"""Questions of the tower itself: may a process have more, and is a failed one tried again."""

from __future__ import annotations

from typing import Any, cast

import orjson

from ..identity import new_id
from ..storage.persistence import Persistence, Row
from .interrupts import OPTIONS, Question
from .ledger import Ledger, Owner
from .process import InterruptKind, InterruptStatus, Quota
from .questions import Questions
from .resources import Exhausted

PREFIX = "!"
"""Begins the keys of these questions: they are asked about a process, not at a step of it."""

FAILURE = "failure"


class Appeals:
    """Raises the tower's questions about one process: one open at a time on each topic."""

    def __init__(
        self, persistence: Persistence, owner: Owner, ledger: Ledger, questions: Questions
    ) -> None:
        self._persistence = persistence
        self._owner = owner
        self._ledger = ledger
        self._questions = questions
        self._raised: dict[str, str] = {}

    async def for_more(self, error: Exhausted) -> str | None:
        """Ask to go beyond a limit; the id of the question, None when the answer was no."""
        topic = error.resource
        last = await self._last(topic)
        by = _data(last)["extend_by"] if last else error.limit or 1
        kind = InterruptKind.TIMEOUT if topic == "seconds" else InterruptKind.RESOURCE_EXHAUSTED
        text = (
            f"This request has reached its limit: {error.message}."
            f" Extend it by {by:g} and go on, or end here?"
        )
        data = {"resource": topic, "used": error.used, "limit": error.limit, "extend_by": by}
        return self._raise(topic, last, Question(kind, text, data=data))

    async def after(self, failure: str) -> str | None:
        """Ask whether to try again; the id of the question, None when the answer was no."""
        last = await self._last(FAILURE)
        text = f"This request came to a stop: {failure}. Retry from where it was, or end here?"
        question = Question(InterruptKind.SYSTEM_ERROR, text, data={"failure": failure})
        return self._raise(FAILURE, last, question)

    async def given_up(self) -> str | None:
        """The failure after which nobody wanted to try again."""
        last = await self._last(FAILURE)
        ended = last is not None and _is_no(last, InterruptKind.SYSTEM_ERROR)
        return str(_data(last)["failure"]) if last is not None and ended else None

    async def _last(self, topic: str) -> Row | None:
        return await self._persistence.fetch_one(
            "SELECT id, key, status, answer, data FROM interrupt"
            " WHERE process_id = ? AND key LIKE ? ORDER BY id DESC LIMIT 1",
            (self._owner.pid, f"{PREFIX}{topic}.%"),
        )

    def _raise(self, topic: str, last: Row | None, question: Question) -> str | None:
        if topic in self._raised:  # by another branch, and perhaps answered since
            return self._raised[topic]
        if last is not None and last["status"] == InterruptStatus.PENDING:
            return cast(str, last["id"])
        if last is not None and _is_no(last, question.kind):
            return None
        number = int(last["key"].rpartition(".")[2]) + 1 if last is not None else 1
        self._raised[topic] = interrupt_id = new_id()
        key = f"{PREFIX}{topic}.{number}"
        self._ledger.put(self._questions.raising(interrupt_id, key, question))
        return interrupt_id


def extended(quota: Quota, data: dict[str, Any]) -> Quota:
    """The quota after a question of this `data` was answered with `extend`."""
    resource = data["resource"]
    name = "timeout_seconds" if resource == "seconds" else f"max_{resource}"
    return quota.model_copy(update={name: getattr(quota, name) + data["extend_by"]})


def _is_no(last: Row, kind: InterruptKind) -> bool:
    return bool(last["status"] != InterruptStatus.PENDING and last["answer"] != OPTIONS[kind][0])


def _data(row: Row | None) -> dict[str, Any]:
    return orjson.loads(row["data"]) if row is not None else {}
