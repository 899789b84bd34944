"""The protocol between the runtime and whatever produces text."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict, runtime_checkable

LLMRole = Literal["system", "user", "assistant", "tool"]
Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class LLMToolCall:
    """A call that a model asks for. `arguments` is JSON text as the model wrote it, which may be
    no object, or no JSON at all."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class LLMMessage:
    """One message of a conversation.

    `tool_calls` are what an `assistant` asked for; a `tool` message answers the one whose id is
    `call_id`. Each call is answered before the next message of another role.
    """

    role: LLMRole
    content: str
    tool_calls: tuple[LLMToolCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class LLMTool:
    """A tool that a model may ask for. `parameters` is the JSON Schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LLMUsage:
    tokens_in: int = 0
    tokens_out: int = 0


class LLMParameters(TypedDict, total=False):
    """How a model chooses its words. What a provider does not know, it leaves out."""

    temperature: float
    top_p: float
    seed: int
    stop: list[str]


def unheard(_model: str, _usage: LLMUsage) -> None:
    """For those who keep no account."""


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """One call. `role` is the part the model plays (`writer`, `planner`, ...), not a chat role.

    `max_output_tokens` is passed on as the model's cap; `timeout` is in seconds;
    `idempotency_key` is the same when a call is repeated after a crash. `model` None is the
    provider's own choice. With `output_schema`, a JSON Schema, the text is JSON that fits it, as
    far as the model obeys. `avoid` names providers that broke off earlier attempts of this call.
    `lost` hears what a vendor has counted, from its beginning on, of a reply that fails all the
    same: refused, broken off, cut off.
    """

    messages: tuple[LLMMessage, ...]
    role: str = "default"
    max_output_tokens: int = 2048
    timeout: float = 60.0
    idempotency_key: str | None = None
    model: str | None = None
    parameters: LLMParameters = field(default_factory=LLMParameters)
    tools: tuple[LLMTool, ...] = ()
    output_schema: Mapping[str, Any] | None = None
    avoid: frozenset[str] = frozenset()
    lost: Callable[[str, LLMUsage], None] = field(default=unheard, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LLMReply:
    """A whole reply. `model` names what produced it, empty where nobody is to be billed;
    `finish` is `length` where the cap cut it."""

    text: str
    usage: LLMUsage = field(default_factory=LLMUsage)
    tool_calls: tuple[LLMToolCall, ...] = ()
    model: str = ""
    finish: Finish = "stop"


@dataclass(frozen=True, slots=True)
class LLMChunk:
    """A piece of a streamed reply, which may be empty. The last chunk carries the usage, the tool
    calls and whatever else is known of the whole. One before it may have, with `model`, the usage
    of the whole reply until then: that counts should the reply be cut off."""

    text: str
    usage: LLMUsage | None = None
    tool_calls: tuple[LLMToolCall, ...] = ()
    model: str = ""
    finish: Finish = "stop"


@runtime_checkable
class LLMProvider(Protocol):
    """A source of replies. Failures raise `LLMError`; cancellation stops the call at once.

    One that holds connections or memory also has `async def close(self) -> None`, called once
    when the server has stopped.
    """

    @property
    def name(self) -> str: ...

    async def complete(self, request: LLMRequest) -> LLMReply: ...

    def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]: ...


@runtime_checkable
class ClosingProvider(LLMProvider, Protocol):
    """A provider with something to close."""

    async def close(self) -> None: ...


@runtime_checkable
class BoundedProvider(LLMProvider, Protocol):
    """A provider that answers so many calls at once; more wait for their turn, which is no failure
    of its own. None leaves the number to the settings, which may say fewer, too."""

    @property
    def at_once(self) -> int | None: ...


LLMProviderFactory = Callable[[str], LLMProvider]
"""Gives the provider for a role (`writer`, `planner`, ...)."""


@asynccontextmanager
async def closing(chunks: AsyncIterator[LLMChunk]) -> AsyncIterator[AsyncIterator[LLMChunk]]:
    """A stream that is over when the block is, however far it was read."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):  # a plain iterator has nothing to close
            await chunks.aclose()


async def collect(chunks: AsyncIterator[LLMChunk]) -> LLMReply:
    """The whole of a stream."""
    texts: list[str] = []
    last = LLMChunk("")
    async with closing(chunks):
        async for chunk in chunks:
            texts.append(chunk.text)
            last = chunk
    return LLMReply(
        "".join(texts), last.usage or LLMUsage(), last.tool_calls, last.model, last.finish
    )


def without_fence(text: str) -> str:
    """JSON as it is: some models put it into a block of Markdown, whatever they are told."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.removeprefix("```").removeprefix("json").removesuffix("```").strip()
    return text
