"""One provider within its limits: calls at once, time, and a breaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ..errors import LLMError
from .breaker import Breaker
from .provider import LLMChunk, LLMProvider, LLMReply, LLMRequest, closing


class GuardedProvider:
    """Makes its provider when it is first called, and lets `concurrency` calls through at once.

    A request's `timeout` bounds the whole call: waiting for its turn, and a stream to its end.
    """

    def __init__(
        self, name: str, make: Callable[[], LLMProvider], concurrency: int, breaker: Breaker
    ) -> None:
        self.name = name
        self._make = make
        self._concurrency = concurrency
        self._turns = asyncio.Semaphore(concurrency)
        self._breaker = breaker
        self.provider: LLMProvider | None = None
        """Once it is made."""

    async def complete(self, request: LLMRequest) -> LLMReply:
        deadline = asyncio.get_running_loop().time() + request.timeout
        async with self._turn(request, deadline) as provider, asyncio.timeout_at(deadline):
            return await provider.complete(request)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        deadline = asyncio.get_running_loop().time() + request.timeout
        async with (
            self._turn(request, deadline) as provider,
            closing(provider.stream(request)) as chunks,
        ):
            while True:
                # Not around the yield: whoever reads must not be cancelled by our timeout.
                async with asyncio.timeout_at(deadline):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                yield chunk

    @asynccontextmanager
    async def _turn(self, request: LLMRequest, deadline: float) -> AsyncIterator[LLMProvider]:
        self._breaker.check()
        await self._wait(deadline)
        try:
            self._breaker.begin()
            try:
                if self.provider is None:
                    self.provider = self._make()
                yield self.provider
            except LLMError as error:
                self._breaker.fail(error)
                raise
            except TimeoutError as error:
                text = f"no reply from {self.name} within {request.timeout:g} seconds"
                late = LLMError("unavailable", text, provider=self.name)
                self._breaker.fail(late)
                raise late from error
            except BaseException:
                self._breaker.leave()
                raise
            self._breaker.succeed()
        finally:
            self._turns.release()

    async def _wait(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._turns.acquire()
        except TimeoutError:
            text = f"{self._concurrency} calls of {self.name} are under way already"
            raise LLMError("rate_limited", text, provider=self.name) from None
