from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mission_system.core.errors import LLMError
from mission_system.core.llm.mock import MockProvider
from mission_system.core.llm.provider import LLMMessage, LLMProvider, LLMRequest


def request(*said: str, max_output_tokens: int = 2048) -> LLMRequest:
    messages = tuple(LLMMessage("user", text) for text in said)
    return LLMRequest(
        (LLMMessage("system", "be brief"), *messages), max_output_tokens=max_output_tokens
    )


async def stream(provider: LLMProvider, asked: LLMRequest) -> list[str]:
    return [chunk.text async for chunk in provider.stream(asked)]


async def test_reply_holds_the_last_user_message_verbatim() -> None:
    provider: LLMProvider = MockProvider()
    assert provider.name == "mock"
    reply = await provider.complete(request("first", " two\n  lines\t"))
    assert " two\n  lines\t" in reply.text
    assert "first" not in reply.text


async def test_same_request_gives_the_same_reply() -> None:
    one, two = MockProvider(), MockProvider()
    assert await one.complete(request("hi")) == await two.complete(request("hi"))
    assert await one.complete(request("hi")) == await one.complete(request("hi"))


async def test_a_request_without_a_user_message_is_answered() -> None:
    assert (await MockProvider().complete(request())).text


@given(text=st.text(), limit=st.integers(0, 12))
def test_stream_concatenates_to_the_completion_within_the_limit(text: str, limit: int) -> None:
    async def check() -> None:
        asked = request(text, max_output_tokens=limit)
        reply = await MockProvider().complete(asked)
        chunks = [chunk async for chunk in MockProvider().stream(asked)]
        assert "".join(chunk.text for chunk in chunks) == reply.text
        assert all(len(chunk.text.split()) <= 1 for chunk in chunks)
        assert chunks[-1].usage == reply.usage
        assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
        assert reply.usage.tokens_out == math.ceil(len(reply.text) / 5) <= limit
        assert reply.usage.tokens_in == 2 + math.ceil(len(text) / 5)

    asyncio.run(check())


async def test_a_long_reply_is_cut_after_max_output_tokens() -> None:
    reply = await MockProvider().complete(request("a b c d", max_output_tokens=3))
    assert reply.text == "You said: a b c"


async def test_the_longest_message_of_the_shortest_words_is_repeated_whole() -> None:
    longest = "a " * 5000
    assert longest in (await MockProvider().complete(request(longest))).text


async def test_script_is_given_in_order_and_then_used_up() -> None:
    provider = MockProvider(script=["one", "two words"])
    assert (await provider.complete(request("x"))).text == "one"
    assert await stream(provider, request("x")) == ["two ", "words", ""]
    with pytest.raises(LLMError, match="script of 2 replies is used up") as caught:
        await provider.complete(request("x"))
    assert caught.value.kind == "unavailable"


async def test_chunks_come_one_delay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await stream(MockProvider(chunk_delay=0.25), request("a b"))
    assert slept == [0.25] * 4


async def test_cancelling_stops_a_reply_at_once() -> None:
    answering = asyncio.create_task(MockProvider(chunk_delay=3600).complete(request("hi")))
    await asyncio.sleep(0)
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
