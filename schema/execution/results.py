"""Results that many subscribers are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from strawberry.types import ExecutionResult

if TYPE_CHECKING:
    from .plan import Operation


@dataclass
class SharedResult(ExecutionResult):
    """A result that depends on nothing but the event and what is selected of it. Whoever sends it
    first keeps here how it is written."""

    encoded: bytes | None = None


class Results(dict["Operation", SharedResult]):
    """What operations have made of an event. An event that has such an attribute `results` is
    executed once for all who ask the same of it."""
