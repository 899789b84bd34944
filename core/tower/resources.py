"""Quotas: every limit is checked before the call that would break it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import QuotaExceeded
from ..events.event import NewEvent
from .process import OUT_OF_TIME, Quota, Usage
from .usage import Account

WARN_AT = 0.8
Tell = Callable[[NewEvent], None]

_COUNTED = {
    "llm_calls": "LLM calls",
    "tool_calls": "tool calls",
    "agent_hops": "stages entered",
    "iterations": "rounds",
    "steps": "journaled steps",
}


class Exhausted(QuotaExceeded):
    """A limit that may be raised is reached. `resource` is a field of `Usage`, or `seconds`."""

    def __init__(self, reason: str, message: str, resource: str, used: float, limit: float) -> None:
        super().__init__(reason, message)
        self.resource = resource
        self.used = used
        self.limit = limit


class Meter:
    """What one run may still use. Counts go up only through `charge` and `take`."""

    def __init__(self, pid: str, account: Account, tell: Tell) -> None:
        self._pid = pid
        self._account = account
        self._tell = tell
        self._said: set[tuple[str, str | None]] = set()

    @property
    def quota(self) -> Quota:
        """As it is now: it may be adjusted while the process runs."""
        return self._account.quota

    @property
    def usage(self) -> Usage:
        return self._account.usage

    def own(self, resource: str) -> int:
        """What the process has used itself, in earlier runs too, without its children."""
        used: int = getattr(self.usage, resource)
        return used - self._account.billed.get(resource, 0)

    def charge(self, *resources: str) -> None:
        """Take one of each resource (a field of `Usage`), or none of any.

        Raises:
            Exhausted: with reason `max_<resource>_exceeded`, before anything was called.
        """
        for resource in resources:
            used: int = getattr(self.usage, resource)
            lent = self._account.lent.get(resource, 0)
            limit: int = getattr(self.quota, f"max_{resource}")
            if used + lent >= limit:
                reason = f"max_{resource}_exceeded"
                raise self._exhausted(resource, used + lent, limit, reason, lent)
        for resource in resources:
            used = getattr(self.usage, resource) + 1
            setattr(self.usage, resource, used)
            limit = getattr(self.quota, f"max_{resource}")
            if limit > 1 and used >= limit * WARN_AT:
                self._warn(resource, used, limit)

    def take(self, tokens_in: int, tokens_out: int, cost: int) -> None:
        """Count what a model says it has taken: known afterwards, and refused by no limit."""
        self.usage.tokens_in += tokens_in
        self.usage.tokens_out += tokens_out
        self.usage.cost += cost

    def check_input(self, tokens: int) -> None:
        """Refuse a prompt longer than `max_input_tokens`, or one that leaves less than
        `max_output_tokens` of `max_context_tokens` for the reply."""
        limit = self.quota.max_input_tokens
        if tokens > limit:
            raise self._exhausted("input_tokens", tokens, limit, "max_input_tokens_exceeded")
        context, limit = tokens + self.quota.max_output_tokens, self.quota.max_context_tokens
        if context > limit:
            raise self._exhausted("context_tokens", context, limit, "max_context_tokens_exceeded")

    def check_day(self, used: int, limit: int) -> None:
        """Refuse a call when the user's tokens of the day are used up."""
        if used >= limit:
            raise self._exhausted("tokens_per_day", used, limit, "max_tokens_per_day_exceeded")
        if used >= limit * WARN_AT:
            self._warn("tokens_per_day", used, limit)

    def warn_time(self) -> None:
        """The soft time limit has passed."""
        quota = self.quota
        self._warn("seconds", quota.soft_timeout_seconds, quota.timeout_seconds)

    def out_of_time(self, elapsed: float) -> Exhausted:
        """The time limit has passed; what to end the process with."""
        limit = self.quota.timeout_seconds
        return self._exhausted("seconds", round(elapsed, 3), limit, OUT_OF_TIME)

    def _exhausted(
        self, resource: str, used: float, limit: float, reason: str, lent: int = 0
    ) -> Exhausted:
        what = _COUNTED.get(resource, resource.replace("_", " "))
        amounts, key = self._amounts(resource, used, limit)
        self._say(NewEvent("resource.exhausted", amounts, self._pid, key))
        message = f"the limit of {limit:g} {what} is reached"
        if lent:
            message += f": {used - lent:g} are used, {lent:g} lent to children that have not ended"
        return Exhausted(reason, message, resource, used, limit)

    def _warn(self, resource: str, used: float, limit: float) -> None:
        amounts, key = self._amounts(resource, used, limit)
        self._say(NewEvent("resource.warning", amounts, self._pid, key))

    def _amounts(self, resource: str, used: float, limit: float) -> tuple[dict[str, Any], str]:
        # The key makes an event unique for each limit, however often the run is replayed.
        payload = {"resource": resource, "used": used, "limit": limit}
        return payload, f"{resource}:{float(limit)}"

    def _say(self, event: NewEvent) -> None:
        if (event.type, event.key) not in self._said:  # the other branches are at the same limit
            self._said.add((event.type, event.key))
            self._tell(event)
