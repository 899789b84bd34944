"""What a step is made of: its call, what is asked before it and told after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ..errors import MissionError
from ..events.event import NewEvent
from .branches import Branch
from .journal import Record
from .ledger import Write


@dataclass(slots=True)
class Done:
    """What a step's call gave."""

    value: Any


Call = Callable[[str, int], Awaitable[Done]]
"""Does the work of a step; called with its key and the number of the attempt."""

Tell = Callable[[Record], NewEvent | Write]

Permit = Callable[[Branch, Record], Awaitable[MissionError | None]]
"""Whether a step may be done, given its branch and what it is; the error that is journaled in its
place where it may not. May ask first."""

Check = Callable[[], Awaitable[None]]
"""Raises QuotaExceeded where a limit other than a count is in the way."""
