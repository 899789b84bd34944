"""`mission.llm`: calls of models as journaled steps, their text live while it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..capabilities import Reply
from ..chat.text import storable
from ..errors import LLMError
from ..events.event import NewEvent
from ..llm.provider import LLMMessage, LLMRequest, LLMUsage, closing
from ..retry import Retry
from .effects import TEXT, Done, Run
from .journal import Record
from .usage import tokens_today

CHARACTERS_PER_TOKEN = 4  # a rough rule for English; providers count exactly, afterwards
LONGEST_TOKENS = 16  # characters to a token that no real reply has on average
TIMEOUT_SECONDS = 3600.0  # of a provider that the settings do not bound
LONGEST_PAUSE = 30.0  # seconds before another try; a provider that asks for more gets none


def _again(error: Exception) -> bool | float:
    if not isinstance(error, LLMError) or error.kind not in ("unavailable", "rate_limited"):
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= LONGEST_PAUSE else False


class LLM:
    """One role's model, within one mission."""

    def __init__(self, run: Run, role: str) -> None:
        self._run = run
        self._role = role

    async def complete(self, prompt: str | Sequence[LLMMessage]) -> Reply:
        """The whole reply at once.

        Raises:
            LLMError: the provider could not answer.
            QuotaExceeded: a limit of the process, or its user's of the day, is reached.
        """
        return await self._call(prompt, streamed=False)

    async def stream(self, prompt: str | Sequence[LLMMessage]) -> Reply:
        """The same, with its text sent to the user as it comes. Raises as `complete`."""
        return await self._call(prompt, streamed=True)

    async def _call(self, prompt: str | Sequence[LLMMessage], *, streamed: bool) -> Reply:
        messages = (LLMMessage("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
        run = self._run
        characters = sum(len(message.content) for message in messages)

        async def check() -> None:
            run.meter.check_input(characters // CHARACTERS_PER_TOKEN)
            limit = run.runtime.settings.max_tokens_per_day
            if limit is not None:
                used = await tokens_today(run.persistence, run.owner.user_id)
                run.meter.check_day(used, limit)

        broke_off: set[str] = set()

        async def call(key: str, attempt: int) -> Done:
            request = LLMRequest(
                messages,
                role=self._role,
                max_output_tokens=run.meter.quota.max_output_tokens,
                timeout=TIMEOUT_SECONDS,
                idempotency_key=f"{run.owner.pid}:{key}",
                avoid=frozenset(broke_off),
            )
            self._begin(key, attempt)
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    ask = self._stream if streamed else self._complete
                    text, usage = await ask(request, key, attempt)
            except TimeoutError:
                raise LLMError(
                    "unavailable", f"no reply from the model within {TIMEOUT_SECONDS:g} seconds"
                ) from None
            except LLMError as error:
                if error.provider is not None:
                    broke_off.add(error.provider)
                raise
            return Done(text, usage.tokens_in, usage.tokens_out)

        def tell(record: Record) -> NewEvent:
            payload: dict[str, Any] = {"step": record.key, "attempt": record.attempt}
            if record.error is None:
                payload |= {"tokens_in": record.tokens_in, "tokens_out": record.tokens_out}
            return NewEvent("llm.completed", payload, run.owner.pid)

        text = await run.perform(
            "llm",
            self._role,
            [asdict(message) for message in messages],
            TEXT,
            call,
            charge=("llm_calls",),
            streamed=streamed,
            tell=tell,
            retry=Retry(run.runtime.settings.llm_attempts, 1.0, LONGEST_PAUSE, (LLMError,)),
            again=_again,
            check=check,
        )
        return Reply(text)

    def _begin(self, key: str, attempt: int) -> None:
        pid = self._run.owner.pid
        if attempt > 1:
            payload: dict[str, Any] = {"step": key, "attempt": attempt}
            self._run.ledger.tell(NewEvent("llm.restarted", payload, pid))
        payload = {"step": key, "role": self._role, "attempt": attempt}
        self._run.ledger.tell(NewEvent("llm.started", payload, pid))

    async def _complete(
        self, request: LLMRequest, _key: str, _attempt: int
    ) -> tuple[str, LLMUsage]:
        reply = await self._run.runtime.llm(self._role).complete(request)
        return storable(reply.text)[: _longest(request)], reply.usage

    async def _stream(self, request: LLMRequest, key: str, attempt: int) -> tuple[str, LLMUsage]:
        pieces: list[str] = []
        offset = 0
        usage = LLMUsage()
        try:
            async with closing(self._run.runtime.llm(self._role).stream(request)) as chunks:
                async for chunk in chunks:
                    if text := storable(chunk.text)[: _longest(request) - offset]:
                        self._run.ledger.delta(key, attempt, offset, text)
                        pieces.append(text)
                        offset += len(text)
                    usage = chunk.usage or usage
                    if offset >= _longest(request):
                        break
        finally:
            self._run.ledger.end_deltas(key, attempt)
        return "".join(pieces), usage


def _longest(request: LLMRequest) -> int:
    """Characters after which a provider has ignored its cap, and is heard no longer."""
    return request.max_output_tokens * LONGEST_TOKENS
