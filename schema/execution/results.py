"""Results of which more is known than what is in them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from strawberry.types import ExecutionResult

if TYPE_CHECKING:
    from .plan import Operation

LARGEST = 16_384
"""Bytes of a result whose JSON is kept; to write a larger one anew costs less than its memory."""


@dataclass
class MutationResult(ExecutionResult):
    """The result of a mutation: what it has done is done, whether or not this reaches anybody."""


@dataclass
class EventResult(ExecutionResult):
    """The result of one event. Whoever cannot be given it goes on after it, from `cursor`, which
    its errors tell; None where events have no place to go on from."""

    cursor: str | None = None

    def __post_init__(self) -> None:
        for error in self.errors or ():
            error.extensions = self.located(error.extensions)

    def located(self, extensions: dict[str, Any] | None) -> dict[str, Any]:
        """What an error tells besides, with where to go on."""
        at = {} if self.cursor is None else {"cursor": self.cursor}
        return {**(extensions or {}), **at}


@dataclass
class SharedResult(EventResult):
    """A result that depends on nothing but the event and what is selected of it. Whoever sends it
    first keeps here how it is written, unless that is large."""

    encoded: bytes | None = None


class Results(WeakKeyDictionary["Operation", SharedResult]):
    """What operations have made of an event. An event that has such an attribute `results` is
    executed once for all who ask the same of it."""


class Sharing:
    """Keeps results: of the newest events, few of each. So what is kept does not grow with who
    follows what; one who asks otherwise than most, or comes late, is executed for by itself."""

    def __init__(self, events: int = 256, each: int = 4) -> None:
        self._each = each
        self._kept: deque[Results] = deque()
        self._events = events

    def keep(self, results: Results, operation: Operation, result: SharedResult) -> None:
        if len(results) >= self._each:
            return
        if not results:
            if len(self._kept) == self._events:
                self._kept.popleft().clear()
            self._kept.append(results)
        results[operation] = result
