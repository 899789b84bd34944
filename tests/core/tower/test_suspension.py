"""A suspension stands, whatever the orchestrator's own tasks and handlers make of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mission_system.core.errors import Conflict, MissionError
from mission_system.core.storage.persistence import Params, Row
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Outcome, ProcessState

# tasks and handlers of the author's own


async def test_question_in_a_task_group_suspends_and_resumes(start_node, send, ann) -> None:
    async def work(mission: Mission) -> str:
        async def ask(name: str) -> str:
            async with mission.branch(name):
                return await mission.clarify(f"{name}?")

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(name)) for name in ("left", "right")]
        return " ".join(task.result() for task in tasks)

    node = await start_node(work)
    process = await send(node)
    while process.pending is not None:
        assert process.state is ProcessState.WAITING
        answer = f"to {process.pending.question}"
        process = await node.tower.resume_request(ann, process.pending.id, answer, wait=10)
    assert process.reply == "to left? to right?"


async def stops(mission: Mission) -> None:
    await mission.checkpoint("half")


async def spends(mission: Mission) -> None:
    while True:
        await mission.llm().complete("x")


async def breaks(_: Mission) -> None:
    raise ValueError


Part = Callable[[Mission], Awaitable[None]]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("part", "outcome", "reason", "reply"),
    [
        (
            stops,
            Outcome.COMPLETED,
            None,
            "Nothing more was done: the user stopped the work at: half",
        ),
        (spends, Outcome.FAILED, "max_llm_calls_exceeded", None),
        (breaks, Outcome.FAILED, "error", None),
    ],
)
async def test_error_out_of_a_task_group_counts_as_one_out_of_a_gather(
    start_node,
    send,
    ann,
    nested: bool,
    part: Part,
    outcome: Outcome,
    reason: str | None,
    reply: str | None,
) -> None:
    async def one(mission: Mission) -> None:
        async with mission.branch("one"):
            await part(mission)

    async def inner(mission: Mission) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(one(mission))

    async def work(mission: Mission) -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner(mission) if nested else one(mission))
        return "done"

    node = await start_node(work, quota={"max_llm_calls": 1})
    process = await send(node)
    if process.pending is not None:
        process = await node.tower.resume_request(ann, process.pending.id, "stop", wait=10)
    assert (process.outcome, process.reason, process.reply) == (outcome, reason, reply)


async def test_suspension_collected_as_a_result_still_suspends(start_node, send, ann) -> None:
    async def work(mission: Mission) -> str:
        async def ask() -> str:
            async with mission.branch("ask"):
                return await mission.clarify("?")

        return str(await asyncio.gather(ask(), return_exceptions=True))

    node = await start_node(work)
    process = await send(node)
    assert (process.state, process.pending.question) == (ProcessState.WAITING, "?")
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.reply == "['yes']"


async def test_handler_around_a_branch_gets_no_further_step(start_node, send) -> None:
    called: list[str] = []

    async def work(mission: Mission) -> str:
        try:
            async with mission.branch("ask"):
                await mission.clarify("?")
        except BaseException:
            await mission.step("effect", called.append, "never")
        return "made up"

    process = await send(await start_node(work))
    assert (process.state, called) == (ProcessState.WAITING, [])


async def test_task_left_behind_does_nothing_once_its_run_is_over(start_node, send) -> None:
    called: list[str] = []
    gate = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def work(mission: Mission) -> str:
        async def stray() -> None:
            async with mission.branch("stray"):
                await mission.step("wait", gate.wait)
                await mission.step("effect", called.append, "never")

        tasks.append(asyncio.create_task(stray()))
        await asyncio.sleep(0)
        return "done"

    node = await start_node(work)
    process = await send(node)
    gate.set()
    await asyncio.wait(tasks, timeout=5)
    assert not tasks[0].cancelled()
    assert type(tasks[0].exception()).__name__ == "Fenced"
    assert (process.reply, called) == ("done", [])
    rows = await node.database.fetch_all("SELECT type FROM event ORDER BY seq")
    assert rows[-1]["type"] == "process.completed"
    assert await node.database.fetch_all("SELECT * FROM step") == []


@pytest.mark.parametrize("where", ["step", "orchestrator"])
async def test_program_that_exits_ends_its_process_and_not_the_server(
    start_node, send, where: str
) -> None:
    async def leave() -> None:
        raise SystemExit(2)

    async def work(mission: Mission) -> str:
        if mission.message == "ok":
            return "ok"
        if where == "step":
            await mission.step("exit", leave)
        raise SystemExit(2)

    node = await start_node(work)
    process = await send(node)
    assert process.outcome is Outcome.FAILED
    assert "SystemExit" in (process.error or "")
    assert (await send(node, "ok")).reply == "ok"


# questions of processes that have ended


async def test_question_of_a_process_that_ends_meanwhile_is_closed(start_node, send, ann) -> None:
    async def work(mission: Mission) -> str:
        await mission.gather(mission.clarify("?"), mission.step("slow", asyncio.sleep, 3600))
        return "never"

    node = await start_node(work, quota={"timeout_seconds": 0.2, "soft_timeout_seconds": 0.1})
    process = await send(node, wait=None)
    while not (pending := await node.tower.pending_interrupts(ann)):
        await asyncio.sleep(0.01)
    process = await node.tower.wait(ann, process.pid, 10)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "timeout_exceeded")
    assert await node.tower.pending_interrupts(ann) == []
    with pytest.raises(Conflict):
        await node.tower.resume_request(ann, pending[0].id, "too late")


async def test_answer_that_comes_while_the_journal_is_read_is_found(
    start_node, send, ann, monkeypatch
) -> None:
    async def both(mission: Mission) -> str:
        return " ".join(await mission.gather(mission.clarify("a?"), mission.clarify("b?")))

    node = await start_node(both)
    fetch_all = node.database.fetch_all
    questions = {each.question: each.id for each in (await send(node)).interrupts}

    async def interposed(sql: str, params: Params = ()) -> list[Row]:
        """Lets the other answer come between the two reads that load a journal."""
        rows = await fetch_all(sql, params)
        if "process_id = ?" in sql and (question := questions.pop("b?", None)):
            await node.tower.resume_request(ann, question, "B")
        return rows

    monkeypatch.setattr(node.database, "fetch_all", interposed)
    process = await node.tower.resume_request(ann, questions["a?"], "A", wait=10)
    assert (process.reply, process.error) == ("A B", None)


async def test_news_of_the_run_that_asked_is_not_taken_for_the_answer(
    start_node, send, ann, monkeypatch
) -> None:
    async def asks(mission: Mission) -> str:
        return await mission.clarify("?")

    node = await start_node(asks)
    waiting, answered = asyncio.Event(), asyncio.Event()
    write = node.database.write

    async def overtaken(unit):
        """The run that asks learns of its own end only after the answer has come."""
        result = await write(unit)
        if unit.__qualname__.startswith("Ledger") and not waiting.is_set():
            waiting.set()
            await answered.wait()
        elif unit.__qualname__.startswith("Resolver"):
            answered.set()
        return result

    monkeypatch.setattr(node.database, "write", overtaken)
    await send(node, wait=None)
    await waiting.wait()
    question = (await node.tower.pending_interrupts(ann))[0].id
    process = await node.tower.resume_request(ann, question, "A", wait=10)
    assert process.reply == "A"


# stages


async def test_stage_is_over_when_its_process_is(start_node, send, ann) -> None:
    async def work(mission: Mission) -> str:
        async def part(name: str, delay: float) -> None:
            async with mission.stage(name):
                await mission.step(name, asyncio.sleep, delay)

        await mission.gather(part("long", 0.02), part("short", 0))
        async with mission.stage("ask"):
            return await mission.clarify("?")

    node = await start_node(work)
    process = await send(node)
    assert process.stage == "ask"
    assert process == await node.tower.get(ann, process.pid)
    process = await node.tower.resume_request(ann, process.pending.id, "x", wait=10)
    assert process.stage is None
    assert process == await node.tower.get(ann, process.pid)


# doubt


async def test_risky_tool_in_doubt_again_is_asked_about_again(start_node, send, ann) -> None:
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
        return str(await mission.tools.burn(what="letter"))

    node = await start_node(work, tools=[burn])
    process = await send(node)
    answer = "yes"
    for attempt in (1, 2):
        await node.tower.resume_request(ann, process.pending.id, answer)
        while len(calls) < attempt:
            await asyncio.sleep(0.01)
        await node.stop()
        node = await start_node(work, tools=[burn])
        process = await node.tower.wait(ann, process.pid, 10)
        assert process.pending.kind == "agent_review"
        answer = "retry"
    gate.set()
    process = await node.tower.resume_request(ann, process.pending.id, "retry", wait=10)
    assert (process.reply, len(calls)) == ("ashes", 3)


async def test_branches_may_be_nested_as_deeply_as_a_search_goes(start_node, send) -> None:
    async def work(mission: Mission) -> str:
        async def dive(depth: int) -> int:
            if depth == 0:
                return await mission.step("bottom", lambda: 7)
            return (await mission.gather(dive(depth - 1)))[0]

        with pytest.raises(MissionError, match="nested too deeply"):
            await dive(200)
        return str(await dive(40))

    assert (await send(await start_node(work))).reply == "7"
