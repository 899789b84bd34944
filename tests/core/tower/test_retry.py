"""Calls that fail are tried again by policy, within the quota, and counted across crashes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import stamina

from mission_system.core.errors import Busy, LLMError, ToolFailed
from mission_system.core.llm.provider import LLMChunk, LLMReply, LLMRequest
from mission_system.core.retry import Retry
from mission_system.core.tools.call import idempotency_key
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.codec import StepError
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Outcome, ProcessState


class Flaky:
    """Fails so many times, then works."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or ValueError("not yet")
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


async def attempts(node, ann, process) -> list[tuple[str, int]]:
    return [(s.status, s.attempt) for s in await node.tower.steps(ann, process.pid)]


async def test_step_is_tried_again_as_often_as_its_policy_says(start_node, send, ann) -> None:
    flaky, hopeless, other = Flaky(2), Flaky(9), Flaky(9, KeyError("k"))
    policy = Retry(attempts=3, on=(ValueError,))

    async def work(mission: Mission) -> str:
        said = [await mission.step("flaky", flaky, retry=policy)]
        for step in (hopeless, other):
            try:
                await mission.step("fails", step, retry=policy)
            except StepError as error:
                said.append(error.type)
        await mission.clarify("go on?")
        return " ".join(said)

    node = await start_node(work)
    process = await send(node)
    process = await node.tower.resume_request(ann, process.pending.id, "go", wait=10)
    assert process.reply == "done ValueError KeyError"
    assert (flaky.calls, hopeless.calls, other.calls) == (3, 3, 1)
    counted = await attempts(node, ann, process)
    assert counted[:3] == [("completed", 3), ("failed", 3), ("failed", 1)]
    assert process.usage.steps == 3 + 3 + 1 + 1


async def test_attempts_end_where_the_quota_does(start_node, send, ann) -> None:
    hopeless = Flaky(99)

    @tool(retry=Retry(attempts=50))
    async def look() -> str:
        """Look, in vain."""
        return await hopeless()

    async def work(mission: Mission) -> str:
        try:
            await mission.tools.look()
        except ToolFailed as error:
            return error.status
        return "no error"

    node = await start_node(work, tools=[look], quota={"max_tool_calls": 4})
    process = await send(node)
    assert (process.reply, hopeless.calls, process.usage.tool_calls) == ("error", 4, 4)


@pytest.mark.parametrize(
    ("risk", "idempotent", "error", "calls"),
    [
        ("read_only", False, ValueError("x"), 3),
        ("write", True, ValueError("x"), 3),
        ("write", False, ValueError("x"), 1),
        ("destructive", False, TimeoutError("x"), 1),
        ("destructive", False, Busy("full"), 3),
    ],
)
async def test_risky_tool_is_not_tried_again_where_it_may_have_taken_effect(
    start_node, send, risk, idempotent: bool, error: Exception, calls: int
) -> None:
    flaky = Flaky(9, error)
    keys: set[str | None] = set()

    @tool(risk=risk, idempotent=idempotent, retry=Retry(attempts=3))
    async def act() -> str:
        """Do something."""
        keys.add(idempotency_key())
        return await flaky()

    async def work(mission: Mission) -> str:
        return str(await mission.tools.act())

    policy = [{"tool": "act", "decision": "allow"}]
    process = await send(await start_node(work, tools=[act], tool_policy=policy))
    assert process.outcome is Outcome.FAILED
    assert flaky.calls == calls
    assert len(keys) == 1


class Model:
    """Fails in the middle of a reply, so many times."""

    name = "model"

    def __init__(self, failures: int, error: LLMError) -> None:
        self.failures = failures
        self.error = error
        self.calls = 0

    async def complete(self, request: LLMRequest) -> LLMReply:
        raise AssertionError

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        self.calls += 1
        yield LLMChunk(f"half {self.calls} ")
        if self.calls <= self.failures:
            raise self.error
        yield LLMChunk("whole")


async def writes(mission: Mission) -> str:
    return (await mission.llm().stream("write")).text


async def test_model_that_is_away_for_a_moment_starts_over(start_node, send, told) -> None:
    node = await start_node(writes)
    model = Model(2, LLMError("rate_limited", "slow down", 7.5))
    object.__setattr__(node.runtime, "mock_provider", model)
    process = await send(node)
    assert process.reply == "half 3 whole"
    assert process.usage.llm_calls == 3
    events = await told(node, process)
    assert [e.payload["attempt"] for e in events if e.type == "llm.restarted"] == [2, 3]
    texts: dict[int, str] = {}
    for delta in (e.payload for e in events if e.type == "llm.delta"):
        texts[delta["attempt"]] = texts.get(delta["attempt"], "") + delta["text"]
    assert texts == {1: "half 1 ", 2: "half 2 ", 3: "half 3 whole"}


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (LLMError("auth", "no key"), 1),
        (LLMError("rate_limited", "tomorrow", 86_400.0), 1),
        (LLMError("unavailable", "away"), 2),
    ],
)
async def test_model_is_asked_again_only_where_that_may_help(
    start_node, send, error: LLMError, calls: int
) -> None:
    node = await start_node(writes, llm_attempts=2)
    model = Model(9, error)
    object.__setattr__(node.runtime, "mock_provider", model)
    assert (await send(node)).reason == "llm_error"
    assert model.calls == calls


@pytest.mark.parametrize("end", ["cancel", "stop"])
async def test_nobody_waits_for_the_pause_before_another_try(
    start_node, send, ann, end: str
) -> None:
    flaky = Flaky(1)

    async def work(mission: Mission) -> str:
        policy = Retry(attempts=2, initial_seconds=3600, max_seconds=3600)
        return await mission.step("flaky", flaky, retry=policy)

    with stamina.set_testing(False):
        node = await start_node(work)
        process = await send(node, wait=None)
        async with asyncio.timeout(30):
            while await attempts(node, ann, process) != [("started", 2)]:
                await asyncio.sleep(0.01)
            if end == "cancel":
                await node.tower.cancel_request(ann, process.pid)
                while node.tower.depth != (0, 0):
                    await asyncio.sleep(0.01)
                return
            await node.stop()
    # The second attempt was counted, though it never began: the third is one too many.
    node = await start_node(work)
    process = await node.tower.wait(ann, process.pid, 10)
    assert (process.state, process.reply) == (ProcessState.TERMINATED, "done")
    assert await attempts(node, ann, process) == [("completed", 3)]


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"initial_seconds": -1}, {"initial_seconds": 9, "max_seconds": 1}],
)
def test_policy_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="Retry"):
        Retry(**wrong)  # type: ignore[arg-type]


def test_library_is_loaded_by_those_who_retry() -> None:
    code = "import sys, mission_system.core.tower.mission; assert 'stamina' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
