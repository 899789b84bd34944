"""How often one user may submit: the rate limits of the settings."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog

from ..errors import Busy

ANSWER_SECONDS = 1.0  # a storage that takes longer counts as away
log = structlog.get_logger(__name__)


class RateLimits:
    """Counts each user's submissions in moving windows, all of which must have room.

    Where the storage is away nobody is refused: the log says so, once each time it goes.
    """

    def __init__(self, limits: tuple[str, ...], storage: str) -> None:
        self._limits: list[Any] = []
        if not limits:
            return
        # Only where it is used: it takes a third of a second, and is an extra.
        from limits import parse
        from limits.aio.strategies import MovingWindowRateLimiter
        from limits.storage import storage_from_string

        self._limits = [parse(limit) for limit in limits]
        options = {"implementation": "redispy"} if "redis" in storage else {}
        counts: Any = storage_from_string(storage, **options)
        self._limiter: Any = MovingWindowRateLimiter(counts)
        self._away = False

    async def take(self, user_id: str) -> None:
        """Count one submission.

        Raises:
            Busy: a window is full; with the time until it has room.
        """
        if not self._limits:
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                full = await self._full(user_id)
        except Exception:
            if not self._away:
                log.exception("rate limits cannot be counted; nobody is refused")
            self._away = True
            return
        self._away = False
        if full is not None:
            limit, seconds = full
            raise Busy(f"you may send {limit}; wait a little", seconds)

    async def _full(self, user_id: str) -> tuple[Any, float] | None:
        for limit in self._limits:
            if not await self._limiter.test(limit, user_id):
                reset, _ = await self._limiter.get_window_stats(limit, user_id)
                return limit, max(reset - time.time(), 0.1)
        for limit in self._limits:
            if not await self._limiter.hit(limit, user_id):  # another request was faster
                reset, _ = await self._limiter.get_window_stats(limit, user_id)
                return limit, max(reset - time.time(), 0.1)
        return None
