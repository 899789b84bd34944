"""The journal: what was done is not done again, and a replay sees what the first run saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import pytest
import structlog
from pydantic import BaseModel

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import Conflict, LLMError, NotFound, QuotaExceeded, ToolFailed
from mission_system.core.identity import Caller
from mission_system.core.llm.provider import LLMChunk, LLMReply, LLMRequest, LLMUsage
from mission_system.core.tools.decorator import tool
from mission_system.core.tower import ledger
from mission_system.core.tower.codec import StepError
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import InterruptKind, Outcome, ProcessState


@dataclass
class Point:
    x: int
    at: datetime


class Model(BaseModel):
    point: Point
    names: set[str]


async def replayed(node, send, ann, process):
    """Answer the question that every orchestrator here asks last, so that all before replays."""
    assert process.state is ProcessState.WAITING, process.error
    return await node.tower.resume_request(ann, process.pending.id, "go", wait=10)


async def test_values_are_the_same_on_the_first_run_and_on_replay(start_node, send, ann) -> None:
    seen: list[object] = []

    async def make() -> Model:
        return Model(point=Point(1, datetime(2026, 1, 1)), names={"a"})

    def untyped():
        return (1, 2)

    async def work(mission: Mission) -> str:
        seen.append(
            (
                await mission.step("model", make),
                await mission.step("untyped", untyped),
                await mission.now(),
                mission.random().random(),
                mission.uuid(),
                [m.content for m in await mission.history()],
            )
        )
        return await mission.clarify("go on?")

    node = await start_node(work)
    process = await replayed(node, send, ann, await send(node))
    assert process.reply == "go"
    assert seen[0] == seen[1]
    model, pair, *_ = seen[0]  # type: ignore[misc]
    assert isinstance(model, Model)
    assert isinstance(model.point, Point)
    assert pair == [1, 2]


async def test_errors_are_the_same_on_the_first_run_and_on_replay(start_node, send, ann) -> None:
    seen: list[tuple[str, str]] = []
    calls = 0

    @tool
    async def broken(reason: str) -> str:
        """Always fails."""
        nonlocal calls
        calls += 1
        raise ValueError(reason)

    def fails() -> None:
        raise KeyError("k")

    async def work(mission: Mission) -> str:
        try:
            await mission.tools.broken(reason="bad day")
        except ToolFailed as error:
            seen.append((error.status, str(error)))
        try:
            await mission.step("fails", fails)
        except StepError as error:
            seen.append((error.type, str(error)))
        try:
            await mission.tools.nowhere()
        except ToolFailed as error:
            seen.append((error.status, str(error)))
        return await mission.clarify("go on?")

    node = await start_node(work, tools=[broken])
    process = await replayed(node, send, ann, await send(node))
    assert process.reply == "go"
    assert seen[:3] == seen[3:]
    assert [kind for kind, _ in seen[:3]] == ["error", "KeyError", "not_found"]
    assert "bad day" in seen[0][1]
    assert calls == 1


async def test_limit_that_a_steps_own_function_reports_is_an_error_of_the_step(
    start_node, send, ann
) -> None:
    called: list[str] = []

    def over_quota() -> None:
        called.append("x")
        raise QuotaExceeded("max_pages_exceeded", "the service gives no more pages today")

    async def work(mission: Mission) -> str:
        try:
            await mission.step("pages", over_quota)
        except StepError as error:
            return f"{await mission.clarify('go on?')}: {error.type}"
        return "no error"

    node = await start_node(work)
    process = await replayed(node, send, ann, await send(node))
    assert (process.reply, called) == ("go: QuotaExceeded", ["x"])


@pytest.mark.parametrize("where", ["step", "tool"])
async def test_text_of_a_foreign_error_stays_in_the_log(start_node, send, where: str) -> None:
    @tool
    async def look() -> str:
        """Always fails."""
        raise ValueError("password is hunter2")

    def fails() -> None:
        raise ValueError("password is hunter2")

    async def work(mission: Mission) -> str:
        return str(await (mission.step("look", fails) if where == "step" else mission.tools.look()))

    with structlog.testing.capture_logs() as logs:
        process = await send(await start_node(work, tools=[look]))
    assert process.outcome is Outcome.FAILED
    assert process.error is not None
    assert "hunter2" not in process.error
    assert "'look'" in process.error
    incident = process.error.rpartition(" ")[2].rstrip(")")
    told = [entry for entry in logs if entry.get("incident") == incident]
    assert ["hunter2" in entry["error"] for entry in told] == [True]


@pytest.mark.parametrize("where", ["step", "tool"])
async def test_text_of_an_error_of_ours_is_for_the_client(start_node, send, where: str) -> None:
    @tool
    async def look() -> str:
        """Always fails."""
        raise Conflict("the shelf is locked")

    def fails() -> None:
        raise Conflict("the shelf is locked")

    async def work(mission: Mission) -> str:
        return str(await (mission.step("look", fails) if where == "step" else mission.tools.look()))

    process = await send(await start_node(work, tools=[look]))
    assert "the shelf is locked" in (process.error or "")


async def test_context_is_the_same_on_the_first_run_and_on_replay(start_node, send, ann) -> None:
    seen: list[object] = []

    class Colour(StrEnum):
        RED = "red"

    async def work(mission: Mission) -> str:
        seen.append([(type(each).__name__, each) for each in mission.context["values"]])
        mission.context["values"] = None
        return await mission.clarify("go on?")

    node = await start_node(work)
    given = {"values": [(1, 2), datetime(2026, 1, 1), Colour.RED]}
    await replayed(node, send, ann, await send(node, context=given))
    assert seen[0] == seen[1]
    assert given["values"]


async def test_concurrent_branches_replay_right_whatever_finished_first(
    start_node, send, ann
) -> None:
    delays = {"a": 0.03, "b": 0.0, "c": 0.01}
    called: list[str] = []
    results: list[object] = []

    async def slow(name: str) -> str:
        called.append(name)
        await asyncio.sleep(delays[name])
        return name.upper()

    async def work(mission: Mission) -> str:
        async def branch(name: str) -> str:
            return await mission.step("x", slow, name) + await mission.step("y", slow, name)

        async def own_task() -> str:
            async with mission.branch("own"):
                return await mission.step("x", slow, "c")

        task = asyncio.create_task(own_task())
        results.append((await mission.gather(branch("a"), branch("b")), await task))
        delays.update(a=0.0, b=0.05)
        return await mission.clarify("go on?")

    node = await start_node(work)
    await replayed(node, send, ann, await send(node))
    assert results == [(["AA", "BB"], "C")] * 2
    assert sorted(called) == ["a", "a", "b", "b", "c"]


async def test_error_in_one_branch_waits_for_the_others_and_is_the_first_in_order(
    start_node, send
) -> None:
    done: list[str] = []

    async def work(mission: Mission) -> str:
        async def fail(name: str, delay: float) -> None:
            await mission.step("wait", asyncio.sleep, delay)
            raise ValueError(name)

        async def finish() -> None:
            await mission.step("wait", asyncio.sleep, 0.03)
            done.append("finished")

        try:
            await mission.gather(fail("first", 0.02), fail("second", 0), finish())
        except ValueError as error:
            return str(error)
        return "no error"

    process = await send(await start_node(work))
    assert (process.reply, done) == ("first", ["finished"])


@pytest.mark.parametrize("misuse", ["task", "nested"])
async def test_step_that_could_not_be_replayed_is_a_clear_error(start_node, send, misuse) -> None:
    async def work(mission: Mission) -> str:
        async def step() -> None:
            await mission.step("x", asyncio.sleep, 0)

        if misuse == "task":
            await asyncio.create_task(step())
        else:
            await mission.step("outer", step)
        return "unnoticed"

    process = await send(await start_node(work))
    assert process.outcome is Outcome.FAILED
    expected = {"task": "mission.gather", "nested": "inside step 'outer'"}
    assert expected[misuse] in (process.error or "")


async def test_value_that_cannot_be_stored_names_the_step(start_node, send) -> None:
    async def work(mission: Mission) -> str:
        await mission.step("odd", lambda: object())
        return "unnoticed"

    process = await send(await start_node(work))
    assert "'odd'" in (process.error or "")
    assert "object" in (process.error or "")


async def test_large_output_survives(start_node, send, ann) -> None:
    lengths: list[int] = []

    def large() -> str:
        return "x" * 300_000

    async def work(mission: Mission) -> str:
        lengths.append(len(await mission.step("large", large)))
        return await mission.clarify("go on?")

    node = await start_node(work)
    await replayed(node, send, ann, await send(node))
    assert lengths == [300_000, 300_000]
    row = await node.database.fetch_one("SELECT output FROM step WHERE name = 'large'")
    assert row["output"] is None


async def test_changed_orchestrator_blocks_naming_both_steps_and_a_fix_resumes_it(
    start_node, send, ann
) -> None:
    calls: list[str] = []

    def spec(name: str) -> OrchestratorSpec:
        async def work(mission: Mission) -> str:
            await mission.step(name, calls.append, name)
            return await mission.clarify("go on?")

        return OrchestratorSpec("work", work)

    node = await start_node(spec("old"))
    process = await send(node)
    await node.stop()
    changed = await start_node(spec("new"))
    blocked = await replayed(changed, send, ann, process)
    assert (blocked.state, blocked.reason) == (ProcessState.BLOCKED, "diverged")
    assert "'old'" in (blocked.error or "")
    assert "'new'" in (blocked.error or "")
    assert changed.tower.depth[0] == 0
    await changed.stop()
    fixed = await start_node(spec("old"))
    process = await fixed.tower.wait(ann, process.pid, 10)
    assert (process.reply, process.reason, process.error) == ("go", None, None)
    assert calls == ["old"]


async def test_capability_that_is_gone_blocks_its_processes_until_it_is_back(
    start_node, send, ann
) -> None:
    async def work(mission: Mission) -> str:
        return await mission.clarify("go on?")

    async def other(mission: Mission) -> str:
        return "other"

    node = await start_node(work)
    process = await send(node)
    await node.stop()
    node = await start_node(other)
    blocked = await replayed(node, send, ann, process)
    assert (blocked.state, blocked.reason) == (ProcessState.BLOCKED, "missing_capability")
    assert "'work' version 1" in (blocked.error or "")
    with pytest.raises(Conflict, match="not served here"):
        await node.tower.resume_process(ann, process.pid)
    await node.stop()
    node = await start_node(other)
    assert (await node.tower.get(ann, process.pid)).state is ProcessState.BLOCKED
    await node.stop()
    node = await start_node(work)
    assert (await node.tower.wait(ann, process.pid, 10)).reply == "go"


async def test_blocked_process_is_resumed_on_demand_exactly_once(start_node, send, ann) -> None:
    async def work(mission: Mission) -> str:
        await mission.step(name, asyncio.sleep, 0)
        return await mission.clarify("go on?")

    name = "old"
    node = await start_node(work)
    process = await send(node)
    name = "new"
    blocked = await replayed(node, send, ann, process)
    assert blocked.reason == "diverged"
    again = await node.tower.resume_process(ann, process.pid)
    assert (again.state, again.reason, again.error) == (ProcessState.READY, None, None)
    assert (await node.tower.wait(ann, process.pid, 10)).state is ProcessState.BLOCKED
    name = "old"
    results = await asyncio.gather(
        *(node.tower.resume_process(ann, process.pid) for _ in range(5)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in results) == [
        *["Conflict"] * 4,
        "ProcessControlBlock",
    ]
    assert (await node.tower.wait(ann, process.pid, 10)).reply == "go"
    with pytest.raises(Conflict):
        await node.tower.resume_process(ann, process.pid)
    with pytest.raises(NotFound):
        await node.tower.resume_process(Caller("eve"), process.pid)
    moves = [
        (event.payload["to"], event.payload.get("reason"))
        async for event in node.events.follow_process(ann, process.pid)
        if event.type == "process.state_changed"
    ]
    assert moves.count(("ready", "resumed")) == 2


async def test_process_keeps_the_version_it_started_with(start_node, send, ann) -> None:
    def spec(version: int) -> OrchestratorSpec:
        async def work(mission: Mission) -> str:
            await mission.clarify("go on?")
            return f"version {version}"

        return OrchestratorSpec("work", work, version=version)

    node = await start_node(spec(1))
    process = await send(node)
    await node.stop()
    node = await start_node(spec(1), spec(2))
    assert (await replayed(node, send, ann, process)).reply == "version 1"
    newer = await send(node)
    assert (await replayed(node, send, ann, newer)).reply == "version 2"


async def test_work_parked_by_a_shutdown_goes_on_in_the_next_server(start_node, send, ann) -> None:
    called: list[str] = []
    gate = asyncio.Event()

    async def effect(name: str) -> str:
        called.append(name)
        if name == "second" and not gate.is_set():
            await asyncio.sleep(3600)
        return name

    async def work(mission: Mission) -> str:
        return " ".join([await mission.step(n, effect, n) for n in ("first", "second", "third")])

    node = await start_node(work)
    process = await send(node, wait=None)
    while "second" not in called:
        await asyncio.sleep(0.01)
    await node.stop()
    gate.set()
    node = await start_node(work)
    assert (await node.tower.wait(ann, process.pid, 10)).reply == "first second third"
    assert called == ["first", "second", "second", "third"]


async def test_stages_and_events_of_the_capability_are_told_once(
    start_node, send, ann, told
) -> None:
    async def work(mission: Mission) -> str:
        async with mission.stage("look"):
            await mission.emit("found", {"n": 3})
        async with mission.stage("ask"):
            await mission.clarify("go on?")
        return "done"

    node = await start_node(work)
    process = await replayed(node, send, ann, await send(node))
    events = [e for e in await told(node, process) if e.type.startswith(("stage.", "work."))]
    assert [(e.type, e.payload.get("stage")) for e in events] == [
        ("stage.started", "look"),
        ("work.found", None),
        ("stage.completed", "look"),
        ("stage.started", "ask"),
        ("stage.completed", "ask"),
    ]
    assert process.usage.agent_hops == 2


# models


class Scripted:
    """A provider that a test scripts, piece by piece."""

    name = "scripted"

    def __init__(self, *pieces: str, fail: Exception | None = None) -> None:
        self.pieces = pieces
        self.fail = fail
        self.calls: list[LLMRequest] = []
        self.hold: asyncio.Event | None = None

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.calls.append(request)
        if self.fail:
            raise self.fail
        return LLMReply("".join(self.pieces), LLMUsage(3, 5))

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        self.calls.append(request)
        for piece in self.pieces:
            yield LLMChunk(piece)
            await asyncio.sleep(0.06)
        if self.hold:
            await self.hold.wait()
        yield LLMChunk("", LLMUsage(3, 5))


async def writes(mission: Mission) -> str:
    return (await mission.llm("writer").stream("write")).text


def use(node, model: Scripted) -> None:
    object.__setattr__(node.runtime, "mock_provider", model)


async def test_streamed_text_is_told_in_pieces_that_make_the_reply(start_node, send, told) -> None:
    node = await start_node(writes)
    use(node, Scripted("one ", "two ", "three"))
    process = await send(node)
    assert process.reply == "one two three"
    assert (process.usage.tokens_in, process.usage.tokens_out) == (3, 5)
    deltas = [e.payload for e in await told(node, process) if e.type == "llm.delta"]
    assert len(deltas) > 1
    text = ""
    for delta in deltas:
        assert delta["offset"] == len(text)
        text += delta["text"]
    assert text == "one two three"


async def test_many_small_pieces_are_joined(start_node, send, told) -> None:
    async def chatters(mission: Mission) -> str:
        return (await mission.llm().stream("word " * 500)).text

    node = await start_node(chatters)
    events = await told(node, await send(node))
    deltas = [e.payload for e in events if e.type == "llm.delta"]
    assert len(deltas) < 20
    assert "".join(d["text"] for d in deltas) == "You said: " + "word " * 500


async def test_reply_that_had_to_start_over_says_so(start_node, send, ann, told) -> None:
    node = await start_node(writes)
    model = Scripted("half ")
    model.hold = asyncio.Event()
    use(node, model)
    process = await send(node, wait=None)
    async for event in node.events.follow_process(ann, process.pid):
        if event.type == "llm.delta":
            break
    await node.stop()
    node = await start_node(writes)
    use(node, Scripted("whole"))
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.reply in ("whole", "You said: write")
    events = await told(node, process)
    assert [e.payload["attempt"] for e in events if e.type == "llm.restarted"] == [2]
    last = [e.payload for e in events if e.type == "llm.delta" and e.payload["attempt"] == 2]
    assert "".join(delta["text"] for delta in last) == process.reply


class Plain:
    """A stream that is a mere iterator: nothing about it can be closed."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = list(pieces)

    def __aiter__(self) -> Plain:
        return self

    async def __anext__(self) -> LLMChunk:
        if not self.pieces:
            raise StopAsyncIteration
        return LLMChunk(self.pieces.pop(0))


async def test_stream_may_be_a_plain_iterator(start_node, send) -> None:
    node = await start_node(writes)
    model: Any = Scripted()
    model.stream = lambda request: Plain("one ", "two")
    use(node, model)
    assert (await send(node)).reply == "one two"


async def test_streams_side_by_side_are_told_in_few_pieces_and_completely(
    start_node, send, told, monkeypatch
) -> None:
    """Were the time between two pieces endless, each stream would be told in one."""
    monkeypatch.setattr(ledger, "COALESCE_SECONDS", 3600.0)

    async def work(mission: Mission) -> str:
        async def busy() -> None:
            for _ in range(20):
                await mission.step("busy", str)

        streams = [mission.llm(str(n)).stream(f"{n}" * 200) for n in range(3)]
        await mission.gather(*streams, busy())
        return "done"

    class Slow(Scripted):
        async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
            for letter in request.messages[0].content:
                await asyncio.sleep(0)
                yield LLMChunk(letter)

    node = await start_node(work)
    use(node, Slow())
    process = await send(node)
    deltas = [e.payload for e in await told(node, process) if e.type == "llm.delta"]
    texts: dict[str, str] = {}
    for delta in deltas:
        assert delta["offset"] == len(texts.setdefault(delta["step"], ""))
        texts[delta["step"]] += delta["text"]
    assert sorted(texts.values()) == ["0" * 200, "1" * 200, "2" * 200]
    assert len(deltas) <= 3 + 3  # the first may have been due at once


async def test_model_failure_reaches_the_orchestrator_as_it_was(start_node, send) -> None:
    async def asks(mission: Mission) -> str:
        try:
            await mission.llm().complete("?")
        except LLMError as error:
            return f"{error.kind} {error.retry_after}"
        return "no error"

    node = await start_node(asks)
    use(node, Scripted(fail=LLMError("rate_limited", "slow down", 3.5)))
    assert (await send(node)).reply == "rate_limited 3.5"


# risky tools in doubt


@pytest.mark.parametrize(("verdict", "total"), [("retry", 2), ("done", 1)])
async def test_risky_tool_in_doubt_after_a_crash_asks_for_a_review(
    start_node, send, ann, verdict: str, total: int
) -> None:
    calls: list[str] = []
    gate = asyncio.Event()

    @tool(risk="destructive")
    async def burn(what: str) -> str:
        """Burn something."""
        calls.append(what)
        if not gate.is_set():
            await asyncio.sleep(3600)
        return "ashes"

    async def work(mission: Mission) -> str:
        return f"result: {await mission.tools.burn(what='letter')}"

    node = await start_node(work, tools=[burn])
    process = await send(node)
    await node.tower.resume_request(ann, process.pending.id, "yes")
    while not calls:
        await asyncio.sleep(0.01)
    await node.stop()
    gate.set()
    node = await start_node(work, tools=[burn])
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.pending.kind is InterruptKind.AGENT_REVIEW
    assert "'burn'" in process.pending.question
    assert process.pending.options == ("retry", "done")
    process = await node.tower.resume_request(ann, process.pending.id, verdict, wait=10)
    assert process.reply == {"retry": "result: ashes", "done": "result: None"}[verdict]
    assert len(calls) == total


async def test_queued_turn_sees_the_reply_to_the_turn_before(start_node, send, ann) -> None:
    async def remembers(mission: Mission) -> str:
        said = [m.content for m in await mission.history()]
        return f"{mission.message}({' '.join(said)})"

    node = await start_node(remembers)
    session = (await node.chat.create_session(ann)).session_id
    sent = [await send(node, text, session_id=session, wait=None) for text in "abc"]
    last = await node.tower.wait(ann, sent[-1].pid, 10)
    assert last.reply == "c(a a() b b(a a()))"


async def test_subclass_of_a_model_error_comes_back_as_a_model_error(start_node, send) -> None:
    class RateLimited(LLMError):
        pass

    async def asks(mission: Mission) -> str:
        try:
            await mission.llm().complete("?")
        except LLMError as error:
            return error.kind
        return "no error"

    node = await start_node(asks)
    use(node, Scripted(fail=RateLimited("rate_limited", "slow down")))
    assert (await send(node)).reply == "rate_limited"
