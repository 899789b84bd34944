"""A provider that is loaded by its first call: its library is slow to import, or not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import structlog

from ..errors import LLMError, MissionError
from .origin import origin_of
from .provider import ClosingProvider, LLMChunk, LLMProvider, LLMReply, LLMRequest, closing

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class LazyProvider:
    """Imports and makes its provider in a thread, once, while other work goes on.

    `requirement` is what `pip install` takes for its library, `at_once` as in `BoundedProvider`. A
    load that fails is tried again by the next call; one that takes longer than a call has time
    goes on, and serves those that come later.
    """

    def __init__(
        self,
        name: str,
        requirement: str,
        load: Callable[[], LLMProvider],
        at_once: int | None = None,
    ) -> None:
        self.name = name
        self.at_once = at_once
        self._requirement = requirement
        self._load = load
        self._loading: asyncio.Task[LLMProvider] | None = None

    async def complete(self, request: LLMRequest) -> LLMReply:
        return await (await self._loaded()).complete(request)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        async with closing((await self._loaded()).stream(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def close(self) -> None:
        if self._loading is None or _failed(self._loading):
            return
        try:
            provider = await self._loading
        except LLMError:
            return  # there is nothing to close
        if isinstance(provider, ClosingProvider):
            await provider.close()

    async def _loaded(self) -> LLMProvider:
        if self._loading is None or _failed(self._loading):
            load = asyncio.to_thread(self._make)
            self._loading = asyncio.create_task(load, name=f"load {self.name}")
        if self._loading.done():
            return self._loading.result()
        return await asyncio.shield(self._loading)

    def _make(self) -> LLMProvider:
        try:
            return self._load()
        except MissionError:
            raise
        except ImportError as error:
            raise LLMError(
                "invalid",  # it will not be there soon
                f"LLM provider '{self.name}' needs more than is installed: pip install"
                f" '{self._requirement}'",
                provider=self.name,
            ) from error
        except Exception as error:
            # Without its text: settings that do not validate are quoted with their secrets.
            _log.error("llm.provider_not_made", provider=self.name, **origin_of(error))
            raise LLMError(
                "unavailable",
                f"LLM provider '{self.name}' could not be made ({type(error).__name__}); the"
                " server's log says where",
                provider=self.name,
            ) from error


def _failed(loading: asyncio.Task[LLMProvider]) -> bool:
    return loading.done() and (loading.cancelled() or loading.exception() is not None)
