"""Questions of the tower itself: more of what is used up, another try after a failure."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import Conflict, InvalidInput, QuotaExceeded
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import InterruptKind, Outcome, ProcessState


@tool
def look(what: str) -> str:
    """Look at something."""
    return f"saw {what}"


async def llm_calls(mission: Mission) -> str:
    for _ in range(5):
        await mission.llm().complete("?")
    return "done"


async def tool_calls(mission: Mission) -> str:
    for _ in range(5):
        await mission.tools.look(what="it")
    return "done"


async def agent_hops(mission: Mission) -> str:
    for number in range(5):
        async with mission.stage(f"stage {number}"):
            await mission.step("effect", lambda: None)
    return "done"


async def iterations(mission: Mission) -> str:
    async for number in mission.rounds():
        await mission.step("effect", lambda: None)
        if number == 5:
            break
    return "done"


async def steps(mission: Mission) -> str:
    for _ in range(5):
        await mission.step("effect", lambda: None)
    return "done"


COUNTED = [llm_calls, tool_calls, agent_hops, iterations, steps]


def asks(limit: int, resource: str) -> dict[str, Any]:
    return {f"max_{resource}": limit, "on_exhausted": "ask"}


@pytest.mark.parametrize("work", COUNTED)
async def test_extending_a_limit_lets_the_process_go_on_where_it_was(
    start_node, send, ann, told, work
) -> None:
    resource = work.__name__
    node = await start_node(work, tools=[look], quota=asks(2, resource))
    process = await send(node)
    limits = []
    while process.state is ProcessState.WAITING:
        question = process.pending
        assert (question.kind, question.options) == (
            InterruptKind.RESOURCE_EXHAUSTED,
            ("extend", "end"),
        )
        assert (question.expires_at - question.created_at).total_seconds() == 300
        limit = question.data["limit"]
        limits.append(limit)
        assert question.data == {
            "resource": resource,
            "used": limit,
            "limit": limit,
            "extend_by": 2,
        }
        process = await node.tower.resume_request(ann, question.id, "Extend", wait=10)
    assert (process.outcome, process.reply, limits) == (Outcome.COMPLETED, "done", [2, 4])
    assert getattr(process.quota, f"max_{resource}") == 6
    assert getattr(process.usage, resource) == 5
    recorded = [step for step in await node.tower.steps(ann, process.pid)]
    assert len(recorded) == 5
    events = [e for e in await told(node, process) if e.type == "resource.exhausted"]
    assert [e.payload["limit"] for e in events] == [2, 4]


@pytest.mark.parametrize("work", COUNTED)
async def test_refused_extension_ends_with_the_usual_reason_and_keeps_what_was_done(
    start_node, send, ann, work
) -> None:
    resource = work.__name__
    node = await start_node(work, tools=[look], quota=asks(2, resource))
    process = await send(node)
    process = await node.tower.resume_request(ann, process.pending.id, "end", wait=10)
    assert (process.outcome, process.reason) == (Outcome.FAILED, f"max_{resource}_exceeded")
    assert getattr(process.quota, f"max_{resource}") == 2
    steps = await node.tower.steps(ann, process.pid)
    assert [step.status for step in steps].count("completed") == 2


async def expire(node, question: str) -> None:
    await node.database.write(
        lambda tx: tx.execute("UPDATE interrupt SET expires_at = 1 WHERE id = ?", (question,))
    )
    await node.tower.upkeep._expire(
        (await node.tower._interrupts.overdue(2, "", 1))[0],
    )


async def test_extension_that_nobody_answers_ends_the_process(start_node, send, ann, told) -> None:
    node = await start_node(steps, quota=asks(2, "steps"))
    process = await send(node)
    await expire(node, process.pending.id)
    process = await node.tower.wait(ann, process.pid, 10)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "max_steps_exceeded")
    assert "interrupt.expired" in [event.type for event in await told(node, process)]


async def test_orchestrator_may_make_the_best_of_a_refused_extension(start_node, send, ann) -> None:
    async def thrifty(mission: Mission) -> str:
        done = 0
        try:
            for _ in range(5):
                await mission.step("effect", lambda: None)
                done += 1
        except QuotaExceeded:
            return f"{done} of 5"
        return "all"

    node = await start_node(thrifty, quota=asks(2, "steps"))
    process = await send(node)
    process = await node.tower.resume_request(ann, process.pending.id, "end", wait=10)
    assert process.reply == "2 of 5"


async def test_extension_is_asked_and_granted_across_restarts(start_node, send, ann) -> None:
    done: list[int] = []

    async def counted(mission: Mission) -> str:
        for number in range(5):
            await mission.step("effect", done.append, number)
        return "done"

    node = await start_node(counted, quota=asks(2, "steps"))
    process = await send(node)
    for expected in (2, 4):
        assert process.pending.data["limit"] == expected
        await node.stop()
        node = await start_node(counted, quota=asks(1, "steps"))  # a process keeps its own
        process = await node.tower.resume_request(ann, process.pending.id, "extend", wait=10)
    assert (process.reply, done) == ("done", [0, 1, 2, 3, 4])


async def test_branches_at_one_limit_ask_one_question(start_node, send, ann) -> None:
    async def wide(mission: Mission) -> str:
        await mission.gather(*(mission.step(f"s{n}", lambda: None) for n in range(6)))
        return "done"

    node = await start_node(wide, quota=asks(3, "steps"))
    process = await send(node)
    assert len(process.interrupts) == 1
    process = await node.tower.resume_request(ann, process.pending.id, "extend", wait=10)
    assert (process.reply, process.usage.steps) == ("done", 6)


async def test_answer_to_another_question_does_not_ask_for_the_extension_again(
    start_node, send, ann, told
) -> None:
    async def both(mission: Mission) -> str:
        async def work() -> None:
            for _ in range(3):
                await mission.step("effect", lambda: None)

        answer, _ = await mission.gather(mission.clarify("?"), work())
        return str(answer)

    node = await start_node(both, quota=asks(3, "steps"))
    process = await send(node)
    kinds = {question.kind: question.id for question in process.interrupts}
    assert set(kinds) == {InterruptKind.CLARIFICATION, InterruptKind.RESOURCE_EXHAUSTED}
    answer = kinds[InterruptKind.CLARIFICATION]
    process = await node.tower.resume_request(ann, answer, "blue", wait=10)
    [left] = process.interrupts
    assert left.id == kinds[InterruptKind.RESOURCE_EXHAUSTED]
    process = await node.tower.resume_request(ann, left.id, "extend", wait=10)
    assert process.reply == "blue"
    events = [event.type for event in await told(node, process)]
    assert events.count("interrupt.raised") == 2
    assert events.count("resource.exhausted") == 1


async def test_limits_of_tokens_end_without_a_question(start_node, send) -> None:
    async def wordy(mission: Mission) -> str:
        return (await mission.llm().complete("word " * 100)).text

    node = await start_node(wordy, quota={"max_input_tokens": 10, "on_exhausted": "ask"})
    process = await send(node)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "max_input_tokens_exceeded")


@pytest.mark.parametrize("kind", [InterruptKind.RESOURCE_EXHAUSTED, InterruptKind.TIMEOUT])
async def test_wrong_answer_names_the_choices(start_node, send, ann, kind) -> None:
    work = slow if kind is InterruptKind.TIMEOUT else steps
    quota = IN_A_HURRY if kind is InterruptKind.TIMEOUT else asks(1, "steps")
    node = await start_node(work, quota=quota)
    process = await send(node)
    with pytest.raises(InvalidInput, match="choose one of: extend, end"):
        await node.tower.resume_request(ann, process.pending.id, "yes")
    assert (await node.tower.get(ann, process.pid)).pending == process.pending


# running time

IN_A_HURRY = {"timeout_seconds": 0.3, "soft_timeout_seconds": 0.2, "on_exhausted": "ask"}
GATE: list[asyncio.Event] = []


async def slow(mission: Mission) -> str:
    first = await mission.step("first", lambda: "first")
    await mission.step("wait", wait_for_gate)
    return f"{first}, done"


async def wait_for_gate() -> None:
    await GATE[-1].wait()


@pytest.fixture(autouse=True)
def gate() -> asyncio.Event:
    GATE.append(asyncio.Event())
    return GATE[-1]


async def test_more_time_lets_the_process_go_on(start_node, send, ann, gate, told) -> None:
    node = await start_node(slow, quota=IN_A_HURRY)
    process = await send(node)
    question = process.pending
    assert (question.kind, question.options) == (InterruptKind.TIMEOUT, ("extend", "end"))
    assert (question.expires_at - question.created_at).total_seconds() == 300
    assert question.data["resource"] == "seconds"
    assert (question.data["limit"], question.data["extend_by"]) == (0.3, 0.3)
    assert question.data["used"] >= 0.3
    gate.set()
    extensions = 0
    while process.pending is not None:  # a slow machine may need more than one
        process = await node.tower.resume_request(ann, process.pending.id, "extend", wait=10)
        extensions += 1
    assert process.reply == "first, done"
    assert process.quota.timeout_seconds == pytest.approx(0.3 * (extensions + 1))
    assert "resource.exhausted" in [event.type for event in await told(node, process)]
    assert [s.name for s in await node.tower.steps(ann, process.pid)] == ["first", "wait"]


async def test_no_more_time_ends_the_process_at_once(start_node, send, ann, gate) -> None:
    node = await start_node(slow, quota=IN_A_HURRY)
    process = await send(node)
    gate.set()  # it could go on, and must not
    process = await node.tower.resume_request(ann, process.pending.id, "end", wait=10)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "timeout_exceeded")
    assert process.error == "the limit of 0.3 seconds is reached"
    assert [s.name for s in await node.tower.steps(ann, process.pid)] == ["first"]


async def test_time_that_nobody_extends_ends_the_process(start_node, send, ann, gate) -> None:
    node = await start_node(slow, quota=IN_A_HURRY)
    process = await send(node)
    gate.set()
    await expire(node, process.pending.id)
    process = await node.tower.wait(ann, process.pid, 10)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "timeout_exceeded")


async def test_waiting_for_more_time_takes_none(start_node, send, ann) -> None:
    node = await start_node(slow, quota=IN_A_HURRY)
    process = await send(node)
    elapsed = process.usage.elapsed_seconds
    await asyncio.sleep(0.4)
    assert (await node.tower.get(ann, process.pid)).usage.elapsed_seconds == elapsed


# failures


def failing(times: int) -> tuple[OrchestratorSpec, list[str]]:
    done: list[str] = []

    async def fails(mission: Mission) -> str:
        await mission.step("effect", done.append, "effect")
        done.append("try")
        if done.count("try") <= times:
            raise ValueError("secret")
        return "done"

    return OrchestratorSpec("fails", fails, on_error="ask"), done


async def test_failure_is_tried_again_from_the_journal(start_node, send, ann) -> None:
    spec, done = failing(times=2)
    node = await start_node(spec)
    process = await send(node)
    question = process.pending
    assert (question.kind, question.options) == (InterruptKind.SYSTEM_ERROR, ("retry", "end"))
    assert (question.expires_at - question.created_at).total_seconds() == 3600
    assert "failed unexpectedly (ValueError; incident" in question.question
    assert "secret" not in question.question
    process = await node.tower.resume_request(ann, question.id, "retry", wait=10)
    assert process.pending.id != question.id
    process = await node.tower.resume_request(ann, process.pending.id, "RETRY", wait=10)
    assert (process.reply, done) == ("done", ["effect", "try", "try", "try"])


async def test_failure_that_is_not_tried_again_ends_the_process(start_node, send, ann) -> None:
    spec, done = failing(times=1)
    node = await start_node(spec)
    process = await send(node)
    failure = process.pending.data["failure"]
    process = await node.tower.resume_request(ann, process.pending.id, "end", wait=10)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "error")
    assert process.error == failure
    assert done == ["effect", "try"]


async def test_failure_that_nobody_looks_at_ends_the_process(start_node, send, ann) -> None:
    spec, done = failing(times=1)
    node = await start_node(spec)
    process = await send(node)
    await expire(node, process.pending.id)
    process = await node.tower.wait(ann, process.pid, 10)
    assert (process.outcome, process.reason, done) == (Outcome.FAILED, "error", ["effect", "try"])


async def test_failure_ends_the_process_unless_told_otherwise(start_node, send) -> None:
    spec, _ = failing(times=1)
    process = await send(await start_node(OrchestratorSpec("fails", spec.function)))
    assert (process.outcome, process.reason) == (Outcome.FAILED, "error")


async def test_failure_is_tried_again_by_a_server_that_was_fixed(start_node, send, ann) -> None:
    async def fails(mission: Mission) -> str:
        return await mission.step("effect", lambda: "kept") + str(1 // 0)

    async def fixed(mission: Mission) -> str:
        return await mission.step("effect", lambda: "lost") + " and done"

    node = await start_node(OrchestratorSpec("work", fails, on_error="ask"))
    process = await send(node)
    await node.stop()
    again = await start_node(OrchestratorSpec("work", fixed, on_error="ask"))
    process = await again.tower.resume_request(ann, process.pending.id, "retry", wait=10)
    assert process.reply == "kept and done"


async def test_cancelled_process_takes_no_extension(start_node, send, ann) -> None:
    node = await start_node(steps, quota=asks(1, "steps"))
    process = await send(node)
    await node.tower.cancel_request(ann, process.pid)
    with pytest.raises(Conflict):
        await node.tower.resume_request(ann, process.pending.id, "extend")
    assert (await node.tower.get(ann, process.pid)).quota.max_steps == 1
