"""One provider within its limits: calls at once, time, and a breaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from ..errors import LLMError, MissionError
from .breaker import Breaker
from .origin import origin_of
from .provider import BoundedProvider, LLMChunk, LLMProvider, LLMReply, LLMRequest, closing

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class GuardedProvider:
    """Makes its provider when it is first called, and lets `concurrency` calls through at once.

    A request's `timeout` bounds the wait for its turn, and then the call, a stream to its end: were
    it both together, a provider that is busy and well would seem to be late. What the provider
    raises that is no error of ours is `unavailable`: the next one may be asked.
    """

    def __init__(
        self, name: str, make: Callable[[], LLMProvider], concurrency: int, breaker: Breaker
    ) -> None:
        self.name = name
        self._make = make
        self._concurrency = concurrency
        self._turns = asyncio.Semaphore(concurrency)
        self.breaker = breaker
        self.provider: LLMProvider | None = None
        """Once it is made."""

    async def complete(self, request: LLMRequest) -> LLMReply:
        async with self._turn(request) as provider, asyncio.timeout(request.timeout):
            return await provider.complete(request)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        async with (
            self._turn(request) as provider,
            closing(provider.stream(request)) as chunks,
        ):
            deadline = asyncio.get_running_loop().time() + request.timeout
            while True:
                # Not around the yield: whoever reads must not be cancelled by our timeout.
                async with asyncio.timeout_at(deadline):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                yield chunk

    @asynccontextmanager
    async def _turn(self, request: LLMRequest) -> AsyncIterator[LLMProvider]:
        self.breaker.check()
        provider = self._made()
        await self._wait(request.timeout)
        try:
            with self.breaker.calling():
                try:
                    yield provider
                except MissionError:
                    raise
                except TimeoutError as error:
                    text = f"no reply from {self.name} within {request.timeout:g} seconds"
                    raise LLMError("unavailable", text, provider=self.name) from error
                except Exception as error:
                    raise self._unexpected(error) from error
        finally:
            self._turns.release()

    def _made(self) -> LLMProvider:
        if self.provider is None:
            with self.breaker.calling():
                self.provider = self._make()
            if isinstance(self.provider, BoundedProvider) and self.provider.at_once is not None:
                self._concurrency = min(self._concurrency, self.provider.at_once)
                self._turns = asyncio.Semaphore(self._concurrency)
        return self.provider

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._turns.acquire()
        except TimeoutError:
            text = f"{self._concurrency} calls of {self.name} are under way already"
            raise LLMError("rate_limited", text, provider=self.name) from None

    def _unexpected(self, error: Exception) -> LLMError:
        """Its text may quote a key or the conversation: the log gets where it happened, no more."""
        kind = type(error).__name__
        _log.error("llm.failed_unexpectedly", provider=self.name, **origin_of(error))
        text = f"{self.name} failed unexpectedly ({kind}); the server's log says where"
        return LLMError("unavailable", text, provider=self.name)
