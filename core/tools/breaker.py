"""A circuit breaker: keeps callers from a tool that keeps failing. Pure: no clock, no storage."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from typing import Literal

from ..clock import SECOND, Micros
from ..identity import Caller
from .spec import ToolStatus

FAILURES = 5
"""Errors and timeouts within `WINDOW` that open a breaker."""
WINDOW: Micros = 300 * SECOND
TRIALS = 2
"""Calls in a row that must succeed in a half-open breaker, one at a time, before it closes."""

FAILED = (ToolStatus.ERROR, ToolStatus.TIMEOUT)
COOLED = "its cool-down is over"
BreakerPolicy = Literal["off", "log_only", "log_and_enforce"]
"""`off` counts nothing; `log_only` counts and tells, and lets every call pass."""


class BreakerState(StrEnum):
    """`quarantined` is a person's decision, which only a person takes back."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """How breakers behave. `policies` are of single tools, by name; `cooldown` is how long one
    stays open, in microseconds."""

    policy: BreakerPolicy = "log_and_enforce"
    policies: Mapping[str, BreakerPolicy] = field(default_factory=dict[str, "BreakerPolicy"])
    cooldown: Micros = 60 * SECOND

    def of(self, tool: str) -> BreakerPolicy:
        return self.policies.get(tool, self.policy)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one breaker. `by` is the user who made it, None when the server did."""

    tool: str
    before: BreakerState
    after: BreakerState
    reason: str
    at: Micros
    by: str | None = None


@dataclass(slots=True)
class Breaker:
    """The breaker of one tool. Times are given by the caller, who sees to it that they ascend.

    `enter` before a call and `leave` after it belong together by the number that `enter` gives: a
    call that was under way when the state changed says nothing about the new state.
    """

    tool: str
    cooldown: Micros
    state: BreakerState = BreakerState.CLOSED
    since: Micros = 0
    reason: str | None = None
    by: str | None = None
    turn: int = 0
    failures: deque[Micros] = field(default_factory=lambda: deque[Micros](maxlen=FAILURES))
    _successes: int = 0
    _trying: int | None = None

    @property
    def retry_at(self) -> Micros | None:
        """When an open breaker lets a call pass again."""
        return self.since + self.cooldown if self.state is BreakerState.OPEN else None

    def told(self, caller: Caller) -> tuple[str | None, str | None]:
        """Why it has its state, and the user who changed it: what a person has decided, and who
        that was, is for administrators."""
        is_told = self.by is None or caller.is_admin
        return (self.reason, self.by) if is_told else (None, None)

    def refusal(self, at: Micros) -> str | None:
        """Why a call may not pass now, None when it may."""
        match self.state:
            case BreakerState.CLOSED:
                return None
            case BreakerState.QUARANTINED:
                return "it is quarantined; an administrator can release it"
            case BreakerState.OPEN:
                left = max(0, self.since + self.cooldown - at) / SECOND
                return f"its circuit breaker is open ({self.reason}); try again in {ceil(left)} s"
            case BreakerState.HALF_OPEN:
                if self._trying is None:
                    return None
                return "its circuit breaker is half-open, and another call is trying it now"

    def enter(self) -> int:
        """A call begins; the number to leave with. A half-open breaker is busy until then."""
        if self.state is BreakerState.HALF_OPEN and self._trying is None:
            self._trying = self.turn
        return self.turn

    def leave(self, entered: int, status: ToolStatus, at: Micros) -> Change | None:
        """A call has ended so; what that changes."""
        if entered != self.turn:
            return None
        if self.state is BreakerState.CLOSED and status in FAILED:
            return self.failed((at,), at)
        if self.state is BreakerState.HALF_OPEN:
            self._trying = None
            if status in FAILED:
                return self.change(BreakerState.OPEN, f"a trial call ended in {status}", at)
            if status is ToolStatus.SUCCESS:
                self._successes += 1
                if self._successes >= TRIALS:
                    reason = f"{TRIALS} trial calls succeeded"
                    return self.change(BreakerState.CLOSED, reason, at)
        return None

    def failed(self, times: Iterable[Micros], at: Micros) -> Change | None:
        """Calls through the closed breaker failed at these times, the newest last."""
        self.failures.extend(times)
        full = len(self.failures) == FAILURES
        if not full or self.failures[0] < at - WINDOW:
            return None
        reason = f"{FAILURES} of its calls failed within {WINDOW // SECOND // 60} minutes"
        return self.change(BreakerState.OPEN, reason, at)

    def cool(self, at: Micros) -> Change | None:
        """An open breaker whose cool-down is over becomes half-open."""
        if self.retry_at is None or at < self.retry_at:
            return None
        return self.change(BreakerState.HALF_OPEN, COOLED, at)

    def change(self, state: BreakerState, reason: str, at: Micros, by: str | None = None) -> Change:
        change = Change(self.tool, self.state, state, reason, at, by)
        self.state, self.since, self.reason, self.by = state, at, reason, by
        self.turn += 1
        self.failures.clear()
        self._successes, self._trying = 0, None
        return change
