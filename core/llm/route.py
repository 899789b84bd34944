"""One role's way to a reply: its provider, else the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import structlog

from ..errors import LLMError
from .provider import LLMChunk, LLMProvider, LLMReply, LLMRequest, LLMUsage, closing
from .roles import LLMTarget

PASSING = ("unavailable", "rate_limited")
"""Kinds of failure that may be over soon."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Route:
    """Asks its targets in order until one replies. Where a model refuses the content, nobody else
    is asked. A stream that breaks off after its first words is not begun again by another: who
    reads it must know; the next attempt begins elsewhere (`LLMRequest.avoid`).

    `find` gives a provider by name; `timeout` is in seconds, for targets that do not say.
    """

    def __init__(
        self, targets: Sequence[LLMTarget], find: Callable[[str], LLMProvider], timeout: float
    ) -> None:
        self._targets = tuple(targets)
        self._find = find
        self._timeout = timeout

    @property
    def name(self) -> str:
        return self._targets[0].provider

    async def complete(self, request: LLMRequest) -> LLMReply:
        failures: list[LLMError] = []
        for target in self._order(request):
            try:
                reply = await self._find(target.provider).complete(self._asked(target, request))
            except LLMError as error:
                self._failed(target, error, failures, request)
            else:
                return replace(reply, model=_billed(target, reply.model))
        raise _together(failures)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        failures: list[LLMError] = []
        for target in self._order(request):
            begun = False
            try:
                provider = self._find(target.provider)
                async with closing(provider.stream(self._asked(target, request))) as chunks:
                    async for chunk in chunks:
                        begun = begun or bool(chunk.text)
                        if chunk.model:
                            chunk = replace(chunk, model=_billed(target, chunk.model))
                        yield chunk
                return
            except LLMError as error:
                if begun:
                    error.provider = target.provider
                    raise
                self._failed(target, error, failures, request)
        raise _together(failures)

    def _order(self, request: LLMRequest) -> list[LLMTarget]:
        return sorted(self._targets, key=lambda target: target.provider in request.avoid)

    def _asked(self, target: LLMTarget, request: LLMRequest) -> LLMRequest:
        def lost(model: str, usage: LLMUsage) -> None:
            request.lost(_billed(target, model), usage)

        return replace(
            request,
            model=target.model or request.model,
            parameters={**target.parameters, **request.parameters},
            timeout=target.timeout_seconds or self._timeout,
            lost=lost,
        )

    def _failed(
        self, target: LLMTarget, error: LLMError, failures: list[LLMError], request: LLMRequest
    ) -> None:
        if error.kind == "refused":
            raise error
        failures.append(error)
        if len(failures) < len(self._targets):
            _log.warning("llm.fallback", role=request.role, failed=target.provider, kind=error.kind)


def _billed(target: LLMTarget, model: str) -> str:
    return f"{target.provider}/{model}" if model else ""


def _together(failures: Sequence[LLMError]) -> LLMError:
    """What several failures come to: worth another try where one of them is, when it is."""
    if len(failures) == 1:
        return failures[0]
    passing = [error for error in failures if error.kind in PASSING]
    kind = (passing or failures)[0].kind
    waits = [error.retry_after for error in passing]
    known = [wait for wait in waits if wait is not None]
    after = min(known) if known and len(known) == len(waits) else None
    return LLMError(kind, "; ".join(error.message for error in failures), after)
