"""The breakers of one server's tools, in memory, where every call passes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import structlog

from ..clock import Micros, now
from .breaker import FAILED, Breaker, BreakerPolicy, BreakerRules, BreakerState, Change
from .spec import ToolStatus

log = structlog.get_logger(__name__)


class Breakers:
    """Asked before each call and told after it. Costs a look into a dictionary until a tool fails.

    `changed` hears of every change, as it happens.
    """

    def __init__(
        self, rules: BreakerRules | None = None, *, clock: Callable[[], Micros] = now
    ) -> None:
        self.rules = rules or BreakerRules()
        self.changed: Callable[[Change], None] = _nobody
        self.outcomes: Counter[tuple[str, ToolStatus]] = Counter()
        """How many calls have ended how, since the start. Names that no tool has are not in it."""
        self._clock = clock
        self._breakers: dict[str, Breaker] = {}

    def policy(self, tool: str) -> BreakerPolicy:
        return self.rules.of(tool)

    def get(self, tool: str) -> Breaker:
        """The tool's breaker as it is now; of a tool that never failed, one that is closed."""
        known = self._current(tool)
        return known or Breaker(tool, self.rules.cooldown)

    def __iter__(self) -> Iterator[Breaker]:
        """Those that something has happened to."""
        for tool in sorted(self._breakers):
            yield self.get(tool)

    def refusal(self, tool: str) -> str | None:
        """Why the tool may not be called now, None when it may."""
        breaker = self._current(tool)
        if breaker is None or not self._enforced(breaker):
            return None
        return breaker.refusal(self._clock())

    def refused(self, tool: str) -> None:
        """A call of the tool was refused."""
        self.outcomes[tool, ToolStatus.UNAVAILABLE] += 1

    def enter(self, tool: str) -> int:
        """A call of the tool begins that was not refused; the number to leave with."""
        breaker = self._breakers.get(tool)
        return 0 if breaker is None else breaker.enter()

    def leave(self, tool: str, entered: int, status: ToolStatus) -> None:
        """The call has ended so."""
        if status is not ToolStatus.NOT_FOUND:
            self.outcomes[tool, status] += 1
        breaker = self._breakers.get(tool)
        if breaker is None:
            if status not in FAILED or self.policy(tool) == "off":
                return
            breaker = self._made(tool)
        elif self.policy(tool) == "off":
            return
        self._tell(breaker.leave(entered, status, self._clock()))

    def change(
        self, tool: str, state: BreakerState, reason: str, at: Micros, by: str | None = None
    ) -> None:
        """Somebody has decided so, and it is stored already: `changed` does not hear of it."""
        self._made(tool).change(state, reason, at, by)

    def restore(self, breaker: Breaker) -> None:
        """What an earlier server has left."""
        self._breakers[breaker.tool] = breaker

    def recall(self, tool: str, failures: list[Micros]) -> None:
        """Calls that failed under an earlier server, the newest last."""
        if self.policy(tool) == "off":
            return
        breaker = self._made(tool)
        if breaker.state is BreakerState.CLOSED:
            self._tell(breaker.failed(failures, self._clock()))

    def next_cooled(self) -> Micros | None:
        """When the next cool-down is over."""
        times = [at for each in self._breakers.values() if (at := each.retry_at) is not None]
        return min(times, default=None)

    def cool(self) -> None:
        """Let whatever has cooled down be half-open."""
        for tool in list(self._breakers):
            self._current(tool)

    def _current(self, tool: str) -> Breaker | None:
        breaker = self._breakers.get(tool)
        if breaker is not None and breaker.state is BreakerState.OPEN:
            self._tell(breaker.cool(self._clock()))
        return breaker

    def _enforced(self, breaker: Breaker) -> bool:
        """What a person has decided counts under any policy."""
        if breaker.state is BreakerState.QUARANTINED:
            return True
        return self.policy(breaker.tool) == "log_and_enforce"

    def _made(self, tool: str) -> Breaker:
        breaker = self._breakers.get(tool)
        if breaker is None:
            breaker = self._breakers[tool] = Breaker(tool, self.rules.cooldown)
        return breaker

    def _tell(self, change: Change | None) -> None:
        if change is not None:
            log.warning(
                "breaker.changed", tool=change.tool, state=change.after.value, reason=change.reason
            )
            self.changed(change)


def _nobody(_change: Change) -> None: ...
