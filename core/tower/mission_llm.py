"""`mission.llm`: calls of models as journaled steps, their text live while it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, cast

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter, ValidationError

from ..capabilities import Reply
from ..chat.text import MAX_ID, storable
from ..clock import Micros
from ..errors import LLMError
from ..events.event import NewEvent
from ..llm.provider import (
    LLMChunk,
    LLMMessage,
    LLMReply,
    LLMRequest,
    LLMTool,
    LLMToolCall,
    closing,
    without_fence,
)
from ..retry import Retry
from ..storage.persistence import Transaction
from .codec import adapter_of
from .effects import Run
from .journal import Record
from .ledger import Write
from .steps import Done
from .tab import Tab, completed
from .usage import tokens_today

CHARACTERS_PER_TOKEN = 4  # a rough rule for English; providers count exactly, afterwards
LONGEST_TOKENS = 16  # characters to a token that no real reply has on average
TIMEOUT_SECONDS = 3600.0  # of a provider that the settings do not bound
MOST_CALLS = 64  # of tools that one reply may ask for
LONGEST_PAUSE = 30.0  # seconds before another try; a provider that asks for more gets none

T = TypeVar("T")


def _again(error: Exception) -> bool | float:
    if not isinstance(error, LLMError) or error.kind not in ("unavailable", "rate_limited"):
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= LONGEST_PAUSE else False


def _stored(reply: LLMReply) -> Any:
    """A text that ended by itself, as most do, is stored as nothing but that."""
    if not reply.tool_calls and reply.finish == "stop":
        return reply.text
    calls = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in reply.tool_calls]
    return {"text": reply.text, "tool_calls": calls, "finish": reply.finish}


def _read(stored: Any) -> Any:
    return {"text": stored} if isinstance(stored, str) else stored


_REPLY: TypeAdapter[LLMReply] = TypeAdapter(
    Annotated[LLMReply, PlainSerializer(_stored), BeforeValidator(_read)]
)


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
        return Reply((await self.ask(prompt, streamed=False)).text)

    async def stream(self, prompt: str | Sequence[LLMMessage]) -> Reply:
        """The same, with its text sent to the user as it comes. Raises as `complete`."""
        return Reply((await self.ask(prompt)).text)

    async def extract(
        self, prompt: str | Sequence[LLMMessage], type: type[T], *, attempts: int = 3
    ) -> T:
        """A reply as a value of `type`: a dataclass, a pydantic model, or what else has a JSON
        Schema. A model that replies something else is told so, and asked again.

        Raises:
            LLMError: also, kind `invalid`, where its last reply does not fit either.
            NotEncodable: `type` has no JSON form.
        """
        adapter = adapter_of(cast(Any, type))
        messages = [*_messages(prompt)]
        for _ in range(attempts):
            reply = await self.ask(messages, output_schema=adapter.json_schema(), streamed=False)
            try:
                value: T = adapter.validate_json(without_fence(reply.text))
            except ValidationError as error:
                problem = f"That is not as asked for: {error}\nReply again, with JSON only."
                messages += [LLMMessage("assistant", reply.text), LLMMessage("user", problem)]
            else:
                return value
        raise LLMError("invalid", f"none of {attempts} replies of the model fits {type!r}")

    async def ask(
        self,
        prompt: str | Sequence[LLMMessage],
        *,
        tools: Sequence[LLMTool] = (),
        output_schema: Mapping[str, Any] | None = None,
        streamed: bool = True,
    ) -> LLMReply:
        """A reply that may ask for tools, which the caller runs, or fit a JSON Schema.

        What it cost is in its step, and not in the reply. Raises as `complete`.
        """
        messages = _messages(prompt)
        run = self._run
        characters = sum(_characters(message) for message in messages)

        async def check() -> None:
            run.meter.check_input(characters // CHARACTERS_PER_TOKEN)
            limit = run.runtime.settings.max_tokens_per_day
            if limit is not None:
                used = await tokens_today(run.persistence, run.owner.user_id)
                run.meter.check_day(used, limit)

        broke_off: set[str] = set()

        async def call(key: str, attempt: int) -> Done:
            tab = Tab(run, key)
            request = LLMRequest(
                messages,
                role=self._role,
                max_output_tokens=run.meter.quota.max_output_tokens,
                timeout=TIMEOUT_SECONDS,
                idempotency_key=f"{run.owner.pid}:{key}",
                tools=tuple(tools),
                output_schema=output_schema,
                avoid=frozenset(broke_off),
                lost=tab.lose,
            )
            self._begin(key, attempt)
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    if streamed:
                        reply = await self._stream(request, key, attempt, tab)
                    else:
                        reply = await run.runtime.llm(self._role).complete(request)
                        tab.hear(reply.model, reply.usage)
            except TimeoutError:
                raise LLMError(
                    "unavailable", f"no reply from the model within {TIMEOUT_SECONDS:g} seconds"
                ) from None
            except LLMError as error:
                if error.provider is not None:
                    broke_off.add(error.provider)
                raise
            return Done(_bounded(reply, request))

        def tell(record: Record) -> Write:
            pid, attempt, failed = run.owner.pid, record.attempt, record.error is not None

            async def write(tx: Transaction, _at: Micros) -> list[NewEvent]:
                return [await completed(tx, pid, record.key, attempt, failed)]

            return write

        reply: LLMReply = await run.perform(
            "llm",
            self._role,
            [messages, [tool.name for tool in tools], output_schema],
            _REPLY,
            call,
            charge=("llm_calls",),
            announced=True,
            tell=tell,
            retry=Retry(run.runtime.settings.llm_attempts, 1.0, LONGEST_PAUSE, (LLMError,)),
            again=_again,
            check=check,
        )
        return reply

    def _begin(self, key: str, attempt: int) -> None:
        pid = self._run.owner.pid
        if attempt > 1:
            payload: dict[str, Any] = {"step": key, "attempt": attempt}
            self._run.ledger.tell(NewEvent("llm.restarted", payload, pid))
        payload = {"step": key, "role": self._role, "attempt": attempt}
        self._run.ledger.tell(NewEvent("llm.started", payload, pid))

    async def _stream(self, request: LLMRequest, key: str, attempt: int, tab: Tab) -> LLMReply:
        pieces: list[str] = []
        offset = 0
        last = LLMChunk("")
        try:
            async with closing(self._run.runtime.llm(self._role).stream(request)) as chunks:
                async for chunk in chunks:
                    if chunk.model:  # else whose it is may be said later, with all of it
                        tab.hear(chunk.model, chunk.usage)
                    if text := storable(chunk.text)[: _longest(request) - offset]:
                        self._run.ledger.delta(key, attempt, offset, text)
                        pieces.append(text)
                        offset += len(text)
                    last = chunk
                    if offset >= _longest(request):
                        break
        finally:
            self._run.ledger.end_deltas(key, attempt)
        tab.hear(last.model, last.usage)
        return LLMReply("".join(pieces), tool_calls=last.tool_calls, finish=last.finish)


def _messages(prompt: str | Sequence[LLMMessage]) -> tuple[LLMMessage, ...]:
    return (LLMMessage("user", prompt),) if isinstance(prompt, str) else tuple(prompt)


def _characters(message: LLMMessage) -> int:
    if not message.tool_calls:
        return len(message.content)
    asked = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return len(message.content) + asked


def _bounded(reply: LLMReply, request: LLMRequest) -> LLMReply:
    """What of a reply can be stored, and is no more than was asked for."""
    longest = _longest(request)
    calls = tuple(
        LLMToolCall(
            storable(call.id)[:MAX_ID],
            storable(call.name)[:MAX_ID],
            storable(call.arguments)[:longest],
        )
        for call in reply.tool_calls[:MOST_CALLS]
    )
    return LLMReply(storable(reply.text)[:longest], tool_calls=calls, finish=reply.finish)


def _longest(request: LLMRequest) -> int:
    """Characters after which a provider has ignored its cap, and is heard no longer."""
    return request.max_output_tokens * LONGEST_TOKENS
