"""What of a conversation a model gets to read: the latest that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from ....core.llm.provider import LLMMessage, LLMTool

if TYPE_CHECKING:
    from ....core.tower.process import Quota

CHARACTERS_PER_TOKEN = 4  # as the quota counts before a call
SPARE = 64  # characters for what stands around each message
RESULT_SHARE = 4  # one result of a tool gets at most this part of the room
LEFT_OUT = "(left out: there was no room)"


def room_of(quota: Quota, tools: Sequence[LLMTool]) -> int:
    """Characters that all messages together may have."""
    tokens = min(quota.max_input_tokens, quota.max_context_tokens - quota.max_output_tokens)
    described = sum(len(tool.description) + len(orjson.dumps(tool.parameters)) for tool in tools)
    return max(0, tokens * CHARACTERS_PER_TOKEN - described)


def newest(history: Sequence[LLMMessage], room: int) -> list[LLMMessage]:
    """The latest messages that fit in `room` characters together, oldest first."""
    start = len(history)
    while start and (room := room - len(history[start - 1].content)) >= 0:
        start -= 1
    return list(history[start:])


def cut(text: str, room: int) -> str:
    """A result of a tool, as long as one may be."""
    longest = max(200, room // RESULT_SHARE)
    if len(text) <= longest:
        return text
    return f"{text[:longest]}... ({len(text) - longest} more characters)"


def fitting(
    system: LLMMessage, history: Sequence[LLMMessage], turn: Sequence[LLMMessage], room: int
) -> list[LLMMessage]:
    """A prompt of at most `room` characters: the oldest results of tools in this turn give way
    first, then the oldest history. The user's message, the first of `turn`, stays in any case."""
    kept = list(turn)
    left = room - size(system) - sum(map(size, kept))
    for index, message in enumerate(kept):
        if left >= 0:
            break
        if message.role == "tool" and len(message.content) > len(LEFT_OUT):
            left += len(message.content) - len(LEFT_OUT)
            kept[index] = replace(message, content=LEFT_OUT)
    return [system, *newest(history, left), *kept]


def size(message: LLMMessage) -> int:
    calls = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return len(message.content) + calls + SPARE
