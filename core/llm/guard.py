"""One provider within its limits: calls at once, time, and a breaker."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from ..errors import LLMError, MissionError
from .breaker import Breaker
from .provider import BoundedProvider, LLMChunk, LLMProvider, LLMReply, LLMRequest, closing

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class GuardedProvider:
    """Makes its provider when it is first called, and lets `concurrency` calls through at once.

    A request's `timeout` bounds the whole call: waiting for its turn, and a stream to its end. What
    the provider raises that is no error of ours is `unavailable`: the next one may be asked.
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
        self.breaker.check()
        provider = self._made()
        await self._wait(deadline)
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

    async def _wait(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._turns.acquire()
        except TimeoutError:
            text = f"{self._concurrency} calls of {self.name} are under way already"
            raise LLMError("rate_limited", text, provider=self.name) from None

    def _unexpected(self, error: Exception) -> LLMError:
        """Its text may quote a key or the conversation: the log gets where it happened, no more."""
        kind = type(error).__name__
        where = traceback.format_tb(error.__traceback__)
        _log.error("llm.failed_unexpectedly", provider=self.name, error=kind, where="".join(where))
        text = f"{self.name} failed unexpectedly ({kind}); the server's log says where"
        return LLMError("unavailable", text, provider=self.name)
