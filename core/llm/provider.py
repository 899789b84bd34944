"""The protocol between the runtime and whatever produces text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

LLMRole = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class LLMMessage:
    role: LLMRole
    content: str


@dataclass(frozen=True, slots=True)
class LLMUsage:
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """One call. `role` is the part the model plays (`writer`, `planner`, ...), not a chat role.

    `max_output_tokens` is passed on as the model's cap; `timeout` is in seconds;
    `idempotency_key` is the same when a call is repeated after a crash.
    """

    messages: tuple[LLMMessage, ...]
    role: str = "default"
    max_output_tokens: int = 2048
    timeout: float = 60.0
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class LLMReply:
    text: str
    usage: LLMUsage = field(default_factory=LLMUsage)


@dataclass(frozen=True, slots=True)
class LLMChunk:
    """A piece of a streamed reply. The last chunk carries the usage (its text may be empty)."""

    text: str
    usage: LLMUsage | None = None


@runtime_checkable
class LLMProvider(Protocol):
    """A source of replies. Failures raise `LLMError`; cancellation stops the call at once."""

    @property
    def name(self) -> str: ...

    async def complete(self, request: LLMRequest) -> LLMReply: ...

    def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]: ...


LLMProviderFactory = Callable[[str], LLMProvider]
"""Gives the provider for a role (`writer`, `planner`, ...)."""
