"""What is measured for whoever follows it: once for all of them, however many there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
FRESH = 0.5  # seconds for which a sample is given to others as well


class Sampler(Generic[T]):
    """Samples of what `read` gives. Nothing is read while nobody follows or reads."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self.read = read
        self._reading = asyncio.Lock()
        self._read_at = float("-inf")
        self._sample: T | None = None
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every follower."""
        self._closing.set()

    async def follow(self, seconds: float) -> AsyncGenerator[T, None]:
        """A sample now, and one after every so many seconds, until closed."""
        while not self._closing.is_set():
            yield await self._latest()
            try:
                async with asyncio.timeout(seconds):
                    await self._closing.wait()
            except TimeoutError:
                continue

    async def _latest(self) -> T:
        async with self._reading:
            clock = asyncio.get_running_loop().time
            if self._sample is None or clock() >= self._read_at + FRESH:
                self._sample = await self.read()
                self._read_at = clock()
            return self._sample
