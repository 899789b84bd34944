"""Roles, fallbacks and limits, over providers that a test scripts."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from mission_system.core.errors import LLMError, LLMErrorKind
from mission_system.core.llm.factory import LLMFactory
from mission_system.core.llm.provider import (
    LLMChunk,
    LLMMessage,
    LLMReply,
    LLMRequest,
    LLMUsage,
    closing,
    collect,
)
from mission_system.core.settings import Settings

ASKED = LLMRequest((LLMMessage("user", "hi"),))


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    with capture_logs() as events:
        yield events


class Scripted:
    """Raises the errors of its script, one a call, then replies with its own name."""

    at_once: int | None = None

    def __init__(self, name: str, *script: Exception, words: int = 0) -> None:
        self.name = name
        self.script = list(script)
        self.words = words
        """How many come before an error of a stream."""
        self.asked: list[LLMRequest] = []
        self.gate: asyncio.Event | None = None
        self.busy = self.most_busy = 0
        self.closed = False

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.asked.append(request)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.script:
                raise self.script.pop(0)
            return LLMReply(self.name, LLMUsage(1, 2), model=request.model or "own")
        finally:
            self.busy -= 1

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        for number in range(self.words):
            yield LLMChunk(f"{number} ")
        reply = await self.complete(request)
        yield LLMChunk(reply.text)
        yield LLMChunk("", reply.usage, model=reply.model)

    async def close(self) -> None:
        self.closed = True


def fails(kind: LLMErrorKind, after: float | None = None) -> LLMError:
    return LLMError(kind, f"{kind} it is", after)


def factory(*providers: Scripted, **settings: Any) -> LLMFactory:
    given: dict[str, Any] = {"llm_provider": providers[0].name} | settings
    made = LLMFactory(Settings(**given))
    for provider in providers:
        made.register(provider.name, lambda _, provider=provider: provider)  # type: ignore[misc]
    return made


def then(*names: str) -> dict[str, Any]:
    return {"default": {"fallbacks": [{"provider": name} for name in names]}}


async def read(made: LLMFactory, request: LLMRequest = ASKED) -> list[LLMChunk]:
    return [chunk async for chunk in made("x").stream(request)]


async def test_role_says_provider_model_parameters_and_time() -> None:
    one, two = Scripted("one"), Scripted("two")
    role = {"provider": "two", "model": "m", "temperature": 0.5, "seed": 3, "timeout_seconds": 9}
    made = factory(one, two, llm_model="big", llm_timeout_seconds=77, llm_roles={"writer": role})
    assert (await made("writer").complete(ASKED)).model == "two/m"
    assert (await made("planner").complete(ASKED)).model == "one/big"
    [asked] = two.asked
    assert asked.parameters == {"temperature": 0.5, "seed": 3}
    assert asked.timeout == 9
    assert one.asked[0].timeout == 77


async def test_role_without_a_provider_of_its_own_asks_the_servers() -> None:
    one = Scripted("one")
    made = factory(one, llm_model="big", llm_roles={"writer": {"temperature": 0.1}})
    assert (await made("writer").complete(ASKED)).model == "one/big"
    assert made("planner") is made("other")


@pytest.mark.parametrize("kind", ["auth", "rate_limited", "context_too_long", "unavailable"])
async def test_next_provider_is_asked_when_one_fails(kind: LLMErrorKind) -> None:
    one, two = Scripted("one", fails(kind), fails(kind)), Scripted("two")
    made = factory(one, two, llm_roles=then("two"))
    assert (await made("x").complete(ASKED)).text == "two"
    chunks = await read(made)
    assert [chunk.text for chunk in chunks] == ["two", ""]
    assert chunks[-1].model == "two/own"


async def test_nobody_else_is_asked_what_one_has_refused() -> None:
    one, two = Scripted("one", fails("refused")), Scripted("two")
    with pytest.raises(LLMError, match="refused it is"):
        await factory(one, two, llm_roles=then("two"))("x").complete(ASKED)
    assert two.asked == []


async def test_when_all_fail_the_error_names_all_and_says_when_to_try_again() -> None:
    one, two, three = (
        Scripted("one", fails("auth")),
        Scripted("two", fails("rate_limited", 9)),
        Scripted("three", fails("unavailable", 4)),
    )
    with pytest.raises(LLMError) as caught:
        await factory(one, two, three, llm_roles=then("two", "three"))("x").complete(ASKED)
    assert caught.value.message == "auth it is; rate_limited it is; unavailable it is"
    assert (caught.value.kind, caught.value.retry_after) == ("rate_limited", 4)


async def test_stream_that_has_begun_is_not_begun_again_by_another() -> None:
    one, two = Scripted("one", fails("unavailable"), words=2), Scripted("two")
    made = factory(one, two, llm_roles=then("two"))
    with pytest.raises(LLMError) as caught:
        await read(made)
    assert caught.value.provider == "one"
    assert two.asked == []
    avoiding = LLMRequest(ASKED.messages, avoid=frozenset({"one"}))
    assert (await read(made, avoiding))[0].text == "two"


async def test_provider_that_keeps_failing_is_left_alone() -> None:
    one, two = Scripted("one", *[fails("unavailable")] * 9), Scripted("two")
    made = factory(one, two, llm_roles=then("two"), llm_breaker_failures=3)
    for _ in range(6):
        assert (await made("x").complete(ASKED)).text == "two"
    assert len(one.asked) == 3


async def test_provider_that_limits_its_rate_is_not_asked_before_its_time() -> None:
    one, two = Scripted("one", fails("rate_limited", 60)), Scripted("two")
    made = factory(one, two, llm_roles=then("two"))
    for _ in range(3):
        assert (await made("x").complete(ASKED)).text == "two"
    assert len(one.asked) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_beyond_its_number_wait_for_their_turn(streamed: bool) -> None:
    one = Scripted("one")
    one.gate = asyncio.Event()
    made = factory(one, llm_concurrency=5, llm_concurrency_of={"one": 2})
    ask = (lambda: read(made)) if streamed else (lambda: made("x").complete(ASKED))
    calls = [asyncio.ensure_future(ask()) for _ in range(6)]
    while one.busy < 2:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert one.busy == 2
    one.gate.set()
    await asyncio.gather(*calls)
    assert (one.most_busy, len(one.asked)) == (2, 6)


@pytest.mark.parametrize("streamed", [False, True])
async def test_call_that_takes_too_long_is_unavailable_and_gives_its_turn_back(
    streamed: bool,
) -> None:
    one = Scripted("one", words=1)
    one.gate = asyncio.Event()
    made = factory(one, llm_concurrency=1, llm_timeout_seconds=0.05)
    with pytest.raises(LLMError, match=r"no reply from one within 0\.05 seconds") as caught:
        await (read(made) if streamed else made("x").complete(ASKED))
    assert caught.value.kind == "unavailable"
    assert one.busy == 0
    one.gate.set()
    assert (await made("x").complete(ASKED)).text == "one"


async def test_waiting_for_a_turn_that_does_not_come_is_not_the_providers_failure() -> None:
    one, two = Scripted("one"), Scripted("two")
    one.gate = asyncio.Event()
    role = {"default": {"fallbacks": [{"provider": "two"}]}, "slow": {"timeout_seconds": 60}}
    made = factory(
        one,
        two,
        llm_roles=role,
        llm_concurrency=1,
        llm_timeout_seconds=0.05,
        llm_breaker_failures=1,
    )
    holding = asyncio.create_task(made("slow").complete(ASKED))
    while not one.busy:
        await asyncio.sleep(0)
    assert (await made("x").complete(ASKED)).text == "two"
    one.gate.set()
    await holding
    assert (await made("x").complete(ASKED)).text == "one"


class Later:
    """A clock that a test puts forward; the loop's own otherwise."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ahead = 0.0
        self._time = loop.time

    def __call__(self) -> float:
        return self._time() + self.ahead


@pytest.fixture
async def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    loop = asyncio.get_running_loop()
    clock = Later(loop)
    monkeypatch.setattr(loop, "time", clock)
    return clock


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("seconds", [700, 1300])
async def test_call_has_its_whole_time_from_its_turn_on(
    later: Later, streamed: bool, seconds: float
) -> None:
    one = Scripted("one", words=1)
    made = factory(one, llm_concurrency=1, llm_timeout_seconds=1000, llm_breaker_failures=1)
    one.gate = first = asyncio.Event()
    holding = asyncio.create_task(made("x").complete(ASKED))
    while len(one.asked) < 1:
        await asyncio.sleep(0)
    waiting = asyncio.create_task(
        collect(made("x").stream(ASKED)) if streamed else made("x").complete(ASKED)
    )
    for _ in range(20):
        await asyncio.sleep(0)
    one.gate = second = asyncio.Event()
    later.ahead += 700
    first.set()
    await holding
    while len(one.asked) < 2:
        await asyncio.sleep(0)
    later.ahead += seconds
    for _ in range(20):
        await asyncio.sleep(0)
    second.set()
    if seconds < 1000:  # as slow as others are, and no slower
        assert (await waiting).text.endswith("one")
        assert made.breakers()[0].failures == 0
    else:
        with pytest.raises(LLMError, match="no reply from one within 1000 seconds"):
            await waiting
        assert made.breakers()[0].failures == 1


async def test_leaving_a_stream_gives_its_turn_back() -> None:
    one = Scripted("one", words=3)
    made = factory(one, llm_concurrency=1)
    async with closing(made("x").stream(ASKED)) as chunks:
        await anext(chunks)
    assert (await made("x").complete(ASKED)).text == "one"


async def test_cancelled_call_gives_its_turn_back_and_counts_for_nothing() -> None:
    one = Scripted("one")
    one.gate = asyncio.Event()
    made = factory(one, llm_concurrency=1, llm_breaker_failures=1)
    calling = asyncio.create_task(made("x").complete(ASKED))
    while not one.busy:
        await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    one.gate.set()
    assert (await made("x").complete(ASKED)).text == "one"


async def test_stream_that_nobody_reads_any_more_gives_its_turn_back() -> None:
    one = Scripted("one", words=3)
    made = factory(one, llm_concurrency=1)
    chunks = made("x").stream(ASKED)
    await anext(aiter(chunks))
    del chunks
    gc.collect()
    async with asyncio.timeout(30):
        assert (await made("x").complete(ASKED)).text == "one"


@pytest.mark.parametrize("streamed", [False, True])
async def test_error_that_is_none_of_ours_is_unavailable_and_its_text_stays_hidden(
    streamed: bool, log: list[EventDict]
) -> None:
    one = Scripted("one", *[ValueError("s3cret")] * 4)
    made = factory(one, llm_breaker_failures=2)
    for _ in range(2):
        with pytest.raises(LLMError, match=r"one failed unexpectedly \(ValueError\)") as caught:
            await (read(made) if streamed else made("x").complete(ASKED))
        assert caught.value.kind == "unavailable"
    with pytest.raises(LLMError, match="left alone"):
        await made("x").complete(ASKED)
    assert "test_route.py" in log[0]["where"]
    assert "s3cret" not in str(log)


async def test_next_provider_is_asked_when_one_fails_unexpectedly() -> None:
    one, two = Scripted("one", ValueError("oops")), Scripted("two")
    assert (await factory(one, two, llm_roles=then("two"))("x").complete(ASKED)).text == "two"


async def test_provider_that_says_how_many_calls_it_can_answer_gets_no_more() -> None:
    one = Scripted("one")
    one.gate = asyncio.Event()
    one.at_once = 2
    made = factory(one, llm_concurrency=5)
    calls = [asyncio.ensure_future(made("x").complete(ASKED)) for _ in range(6)]
    while one.busy < 2:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    one.gate.set()
    await asyncio.gather(*calls)
    assert (one.most_busy, len(one.asked)) == (2, 6)


async def test_closing_closes_what_was_made_and_nothing_else() -> None:
    one, two = Scripted("one"), Scripted("two")
    made = factory(one, two)
    await made("x").complete(ASKED)
    await made.close()
    assert (one.closed, two.closed) == (True, False)
