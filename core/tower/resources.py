"""Quotas: every limit is checked before the call that would break it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import QuotaExceeded
from ..events.event import NewEvent
from .process import Quota, Usage

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
    """What one run may still use. Counts go up only through `charge`."""

    def __init__(self, pid: str, quota: Quota, usage: Usage, tell: Tell) -> None:
        self._pid = pid
        self._quota = quota
        self.usage = usage
        self._tell = tell
        self._told: set[str] = set()

    def charge(self, *resources: str) -> None:
        """Take one of each resource (a field of `Usage`), or none of any.

        Raises:
            Exhausted: with reason `max_<resource>_exceeded`, before anything was called.
        """
        for resource in resources:
            used: int = getattr(self.usage, resource)
            limit: int = getattr(self._quota, f"max_{resource}")
            if used >= limit:
                raise self._exhausted(resource, used, limit, f"max_{resource}_exceeded")
        for resource in resources:
            used = getattr(self.usage, resource) + 1
            setattr(self.usage, resource, used)
            limit = getattr(self._quota, f"max_{resource}")
            if limit > 1 and used >= limit * WARN_AT > used - 1:
                self._warn(resource, used, limit)

    def check_input(self, tokens: int) -> None:
        """Refuse a prompt longer than `max_input_tokens`."""
        limit = self._quota.max_input_tokens
        if tokens > limit:
            raise self._exhausted("input_tokens", tokens, limit, "max_input_tokens_exceeded")

    def warn_time(self, elapsed: float) -> None:
        """The soft time limit has passed."""
        self._warn("seconds", round(elapsed, 3), self._quota.timeout_seconds)

    def out_of_time(self, elapsed: float) -> Exhausted:
        """The time limit has passed; what to end the process with."""
        limit = self._quota.timeout_seconds
        return self._exhausted("seconds", round(elapsed, 3), limit, "timeout_exceeded")

    def _exhausted(self, resource: str, used: float, limit: float, reason: str) -> Exhausted:
        what = _COUNTED.get(resource, resource.replace("_", " "))
        amounts, key = _amounts(resource, used, limit), f"exhausted:{resource}:{limit:g}"
        if key not in self._told:  # the other branches are at the same limit
            self._told.add(key)
            self._tell(NewEvent("resource.exhausted", amounts, self._pid, key))
        message = f"the limit of {limit:g} {what} is reached"
        return Exhausted(reason, message, resource, used, limit)

    def _warn(self, resource: str, used: float, limit: float) -> None:
        # The key makes the warning unique, however often the run is replayed.
        self._tell(
            NewEvent(
                "resource.warning", _amounts(resource, used, limit), self._pid, f"warn:{resource}"
            )
        )


def _amounts(resource: str, used: float, limit: float) -> dict[str, Any]:
    return {"resource": resource, "used": used, "limit": limit}
