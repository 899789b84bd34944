"""How often one user may submit: the rate limits of the settings."""

from __future__ import annotations

import asyncio
import time
from importlib.util import find_spec
from typing import Any

import structlog

from ..errors import Busy, MissionError

ANSWER_SECONDS = 1.0  # a storage that takes longer counts as away
log = structlog.get_logger(__name__)


class RateLimitsUnusable(MissionError):
    """The settings name limits that cannot be counted."""

    code = "RATE_LIMITS_UNUSABLE"


class RateLimits:
    """Counts each user's submissions in moving windows, all of which must have room.

    Where the storage is away nobody is refused: the log says so, once each time it goes.
    """

    def __init__(self, limits: tuple[str, ...], storage: str) -> None:
        """Raises `RateLimitsUnusable`: a library is not installed, or a setting says nothing."""
        self._limits: list[Any] = []
        self._away = False
        if limits:
            self._limits, self._counts, self._limiter = _made(limits, storage)

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

    async def close(self) -> None:
        """Give up the connections to the storage."""
        redis = getattr(self._counts, "bridge", None) if self._limits else None
        if redis is None:
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await redis.storage.aclose()
        except Exception:
            log.exception("connections to the storage of rate limits could not be closed")

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


def _made(limits: tuple[str, ...], storage: str) -> tuple[list[Any], Any, Any]:
    """The parsed limits, where they are counted, and what counts them."""
    # Only where it is used: it takes a third of a second, and is an extra.
    try:
        from limits import parse
        from limits.aio.strategies import MovingWindowRateLimiter
        from limits.errors import ConfigurationError
        from limits.storage import storage_from_string
    except ModuleNotFoundError as error:
        if error.name != "limits":
            raise
        raise RateLimitsUnusable(
            "MISSION_RATE_LIMITS needs a library that is not installed:"
            " pip install 'mission-system[limits]'"
        ) from None
    redis = storage.startswith("async+redis")
    if redis and find_spec("redis") is None:
        raise RateLimitsUnusable(
            "MISSION_RATE_LIMIT_STORAGE names Redis, whose library is not installed:"
            " pip install 'mission-system[redis]'"
        )
    options = {"implementation": "redispy"} if redis else {}
    try:
        if not storage.startswith("async+"):  # what blocks the event loop
            raise ConfigurationError
        counts: Any = storage_from_string(storage, **options)
    except ConfigurationError:  # its text may hold a password
        raise RateLimitsUnusable(
            "MISSION_RATE_LIMIT_STORAGE is no storage; write async+memory:// or one such as"
            " async+redis://host:6379"
        ) from None
    parsed = []
    for limit in limits:
        try:
            parsed.append(parse(limit))
        except ValueError:
            raise RateLimitsUnusable(
                f"MISSION_RATE_LIMITS: '{limit}' is no limit; write one such as 60/minute"
            ) from None
    return parsed, counts, MovingWindowRateLimiter(counts)
