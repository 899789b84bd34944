"""Who has how many subscriptions open, over all connections and transports of one server."""

from __future__ import annotations

from collections import Counter

from ..core.errors import QuotaExceeded


class Subscribers:
    """Counts subscriptions by user, up to `most` for each."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self._open.total()

    def enter(self, user_id: str) -> None:
        """Raises QuotaExceeded where the user has as many as there may be; else `leave` follows."""
        if self._open[user_id] >= self._most:
            raise QuotaExceeded(
                "max_user_subscriptions",
                f"you have {self._most} subscriptions open on this server, which is the most; end"
                " one, or raise MISSION_MAX_USER_SUBSCRIPTIONS",
            )
        self._open[user_id] += 1

    def leave(self, user_id: str) -> None:
        self._open[user_id] -= 1
        if not self._open[user_id]:
            del self._open[user_id]
