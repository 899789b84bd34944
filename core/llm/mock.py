"""A provider without a model: the same request gives the same reply."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

from ..errors import LLMError
from .provider import LLMChunk, LLMReply, LLMRequest, LLMUsage

CHARACTERS_PER_TOKEN = 5
_WORD = re.compile(r"\s*\S+\s*|\s+")


class MockProvider:
    """Repeats the last user message, or gives the replies of `script` in order.

    Five characters begun are a token, so that the longest message there may be, repeated, still
    fits the default `max_output_tokens`. Replies are streamed a word at a time, `chunk_delay`
    seconds apart. When the script is used up, calls raise `LLMError`.
    """

    name = "mock"

    def __init__(self, *, chunk_delay: float = 0.0, script: Sequence[str] | None = None) -> None:
        self._chunk_delay = chunk_delay
        self._script = None if script is None else tuple(script)
        self._given = 0

    async def complete(self, request: LLMRequest) -> LLMReply:
        """The whole reply, after as long as streaming it would take."""
        text = ""
        usage = LLMUsage()
        async for chunk in self.stream(request):
            text += chunk.text
            usage = chunk.usage or usage
        return LLMReply(text, usage)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        """The reply word by word, and last a chunk without text that carries the usage."""
        text = self._reply(request)[: max(request.max_output_tokens, 0) * CHARACTERS_PER_TOKEN]
        for word in _WORD.findall(text):
            if self._chunk_delay:
                await asyncio.sleep(self._chunk_delay)
            yield LLMChunk(word)
        tokens_in = sum(_tokens(message.content) for message in request.messages)
        yield LLMChunk("", LLMUsage(tokens_in, _tokens(text)))

    def _reply(self, request: LLMRequest) -> str:
        if self._script is None:
            said = [message.content for message in request.messages if message.role == "user"]
            return f"You said: {said[-1]}" if said else "You said nothing."
        if self._given == len(self._script):
            raise LLMError(
                "unavailable",
                f"the mock provider's script of {self._given} replies is used up; add one for "
                "each call",
            )
        self._given += 1
        return self._script[self._given - 1]


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)
