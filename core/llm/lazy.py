"""A provider that is loaded by its first call: its library is slow to import, or not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import structlog

from ..errors import LLMError, MissionError
from .provider import ClosingProvider, LLMChunk, LLMProvider, LLMReply, LLMRequest, closing

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class LazyProvider:
    """Imports and makes its provider in a thread, once, while other work goes on.

    `extra` is what `pip install` needs beside the package. A load that fails is tried again by
    the next call.
    """

    def __init__(self, name: str, extra: str, load: Callable[[], LLMProvider]) -> None:
        self.name = name
        self._extra = extra
        self._load = load
        self._loading = asyncio.Lock()
        self._provider: LLMProvider | None = None

    async def complete(self, request: LLMRequest) -> LLMReply:
        return await (await self._loaded()).complete(request)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        async with closing((await self._loaded()).stream(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def close(self) -> None:
        if isinstance(self._provider, ClosingProvider):
            await self._provider.close()

    async def _loaded(self) -> LLMProvider:
        if self._provider is None:
            async with self._loading:
                if self._provider is None:
                    self._provider = await asyncio.to_thread(self._make)
        return self._provider

    def _make(self) -> LLMProvider:
        try:
            return self._load()
        except MissionError:
            raise
        except ImportError as error:
            raise LLMError(
                "unavailable",
                f"LLM provider '{self.name}' needs more than is installed: pip install"
                f" 'mission-system[{self._extra}]'",
                provider=self.name,
            ) from error
        except Exception as error:
            # Its text is not shown: settings that do not validate are quoted with their secrets.
            _log.error("llm.provider_not_made", provider=self.name, exc_info=True)
            raise LLMError(
                "unavailable",
                f"LLM provider '{self.name}' could not be made ({type(error).__name__}); the"
                " server's log says why",
                provider=self.name,
            ) from error
