"""Cancellations: an orchestrator's own are replayed, a dying event loop's are nobody's decision."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from databases import ChosenDatabases

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.codec import StepError
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope, Outcome, ProcessState


async def go_on(node, ann, process):
    """Answer the question that an orchestrator asks last, so that all before it replays."""
    assert process.state is ProcessState.WAITING, process.error
    return await node.tower.resume_request(ann, process.pending.id, "go", wait=10)


async def around_a_step(mission: Mission, endless) -> str:
    try:
        async with asyncio.timeout(0.02):
            await mission.step("endless", endless)
    except TimeoutError:
        return "timeout"
    return "no timeout"


async def around_branches(mission: Mission, endless) -> str:
    try:
        async with asyncio.timeout(0.02):
            await mission.gather(
                mission.step("quick", str), mission.step("endless", endless), mission.sleep(1)
            )
    except TimeoutError:
        return "timeout"
    return "no timeout"


async def by_a_task_group(mission: Mission, endless) -> str:
    async def fails() -> None:
        async with mission.branch("fails"):
            await mission.step("pause", asyncio.sleep, 0.02)
            raise ValueError("sibling")

    async def waits() -> None:
        async with mission.branch("waits"):
            await mission.step("endless", endless)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits())
            group.create_task(fails())
    except ExceptionGroup as errors:
        return str([str(error) for error in errors.exceptions])
    return "no error"


@tool
async def waiting() -> None:
    """Wait for ever."""
    await asyncio.Event().wait()


async def test_call_that_is_cut_off_took_the_time_that_it_took(start_node, send) -> None:
    async def work(mission: Mission) -> str:
        try:
            async with asyncio.timeout(0.02):
                await mission.tools.waiting()
        except TimeoutError:
            return "timeout"
        return "no timeout"

    node = await start_node(work, tools=[waiting])
    assert (await send(node)).reply == "timeout"
    for table in ("step", "tool_call"):
        column = "name" if table == "step" else "tool"
        row = await node.database.fetch_one(
            f"SELECT duration FROM {table} WHERE {column} = ?", ("waiting",)
        )
        assert row["duration"] >= 10_000


@pytest.mark.parametrize("way", [around_a_step, around_branches, by_a_task_group])
async def test_step_that_the_orchestrator_cancels_is_cancelled_again_on_replay(
    start_node, send, ann, way
) -> None:
    called: list[str] = []
    seen: list[str] = []

    async def endless() -> None:
        called.append("x")
        await asyncio.sleep(3600)

    async def work(mission: Mission) -> str:
        seen.append(await way(mission, endless))
        seen.append(await mission.step("next", str, "next"))
        return await mission.clarify("go on?")

    node = await start_node(work)
    process = await go_on(node, ann, await send(node))
    assert (process.reply, process.error) == ("go", None)
    assert called == ["x"]
    assert seen[:2] == seen[2:]
    assert seen[0] != "no timeout"
    steps = {step.name: step.status for step in await node.tower.steps(ann, process.pid)}
    assert (steps["endless"], steps["next"]) == ("failed", "completed")


async def test_step_cancelled_while_it_is_stored_was_not_seen_by_any_run(
    start_node, send, ann, monkeypatch
) -> None:
    seen: list[str] = []
    tasks: list[asyncio.Task[str]] = []

    async def work(mission: Mission) -> str:
        async def effect() -> str:
            async with mission.branch("effect"):
                return await mission.step("effect", str, "done")

        tasks.append(asyncio.create_task(effect()))
        while len(seen) == len(tasks) - 1 and not tasks[-1].done():
            await asyncio.sleep(0)
            if len(tasks) > 1:  # on the replay the step waits to be cancelled
                tasks[-1].cancel()
        results = await asyncio.gather(tasks[-1], return_exceptions=True)
        seen.append(type(results[0]).__name__)
        return await mission.clarify("go on?")

    node = await start_node(work)
    write = node.database.write

    async def cancelling(unit):
        if unit.__qualname__.startswith("Ledger"):
            tasks[0].cancel()
        return await write(unit)

    monkeypatch.setattr(node.database, "write", cancelling)
    process = await go_on(node, ann, await send(node))
    assert (process.reply, process.error) == ("go", None)
    assert seen == ["CancelledError", "CancelledError"]


async def test_risky_tool_that_the_orchestrator_cancels_is_not_in_doubt(
    start_node, send, ann
) -> None:
    calls: list[str] = []

    @tool(risk="write")
    async def save() -> str:
        """Save something."""
        calls.append("x")
        await asyncio.sleep(3600)
        return "saved"

    async def work(mission: Mission) -> str:
        async def branch() -> None:
            async with mission.branch("save"):
                await mission.tools.save()

        task = asyncio.create_task(branch())
        while not (calls or task.done()):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return await mission.clarify("go on?")

    node = await start_node(work, tools=[save])
    asked = {each.question[:5]: each.id for each in (await send(node)).interrupts}
    process = await node.tower.resume_request(ann, asked["May I"], "yes", wait=10)
    assert process.pending.question == "go on?"
    await node.stop()
    node = await start_node(work, tools=[save])
    assert (await go_on(node, ann, process)).reply == "go"
    assert calls == ["x"]


async def test_step_whose_own_work_was_cancelled_has_failed(start_node, send) -> None:
    async def cancelled() -> None:
        await asyncio.Future()

    async def waits_for_it() -> None:
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(0)
        task.cancel()
        await task

    async def work(mission: Mission) -> str:
        try:
            await mission.step("waits", waits_for_it)
        except StepError as error:
            return error.type
        return "no error"

    assert (await send(await start_node(work))).reply == "CancelledError"


@pytest.mark.parametrize("inside", [False, True])
async def test_timeout_around_a_question_lets_it_wait(start_node, send, ann, inside: bool) -> None:
    async def work(mission: Mission) -> str:
        async with asyncio.timeout(60):
            if inside:
                said, _ = await mission.gather(mission.clarify("?"), mission.step("x", str))
                return str(said)
            return await mission.clarify("?")

    node = await start_node(work)
    assert (await go_on(node, ann, await send(node))).reply == "go"


async def test_timeout_that_is_up_once_a_question_is_asked_does_not_count(
    start_node, send, ann
) -> None:
    called: list[str] = []

    async def work(mission: Mission) -> str:
        async def act() -> str:
            called.append("x")
            if len(called) == 1:
                limit.reschedule(asyncio.get_running_loop().time())
                await asyncio.sleep(3600)
            return "done"

        async with asyncio.timeout(None) as limit:
            return " ".join(await mission.gather(mission.clarify("?"), mission.step("act", act)))

    node = await start_node(work)
    assert (await go_on(node, ann, await send(node))).reply == "go done"
    assert called == ["x", "x"]


async def test_orchestrator_that_cancels_itself_has_failed(start_node, send) -> None:
    async def work(mission: Mission) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return "never"

    process = await send(await start_node(work))
    assert (process.outcome, process.error) == (
        Outcome.FAILED,
        "the orchestrator cancelled itself",
    )


@pytest.mark.parametrize("where", ["step", "orchestrator"])
def test_event_loop_that_is_closed_over_a_run_leaves_it_to_the_next_server(
    tmp_path: Path, where: str, databases: ChosenDatabases
) -> None:
    calls: list[str] = []
    gate = asyncio.Event()

    async def effect() -> str:
        calls.append("x")
        await gate.wait()
        return "done"

    async def work(mission: Mission) -> str:
        if where == "step":
            return await mission.step("effect", effect)
        return await effect()

    def serve() -> Node:
        settings = Settings(data=tmp_path)
        runtime = create_mission_runtime(ToolCatalog(), settings=settings, use_mock=True)
        return Node(runtime, CapabilityRegistry((OrchestratorSpec("work", work),)))

    async def first() -> str:
        node = serve()
        await node.start()
        request = Envelope(caller=Caller("ann"), message="hi", request_id="r")
        await node.tower.submit_request(request)
        while not calls:
            await asyncio.sleep(0)
        database: Any = node.database
        database.lease.release()
        return (await node.tower.get(Caller("ann"), "r")).pid

    async def second(pid: str) -> str | None:
        gate.set()
        async with serve() as node:
            return (await node.tower.wait(Caller("ann"), pid, 10)).reply

    pid = asyncio.run(first())
    databases.bury(tmp_path)
    assert asyncio.run(second(pid)) == "done"
    assert calls == ["x", "x"]


async def test_step_cancelled_because_its_sibling_asks_is_done_after_the_answer(
    start_node, send, ann
) -> None:
    called: list[str] = []

    async def slow() -> str:
        called.append("x")
        if len(called) == 1:
            await asyncio.sleep(3600)
        return "done"

    async def work(mission: Mission) -> str:
        async def asks() -> str:
            async with mission.branch("asks"):
                await mission.step("pause", asyncio.sleep, 0.01)
                return await mission.clarify("?")

        async def acts() -> str:
            async with mission.branch("acts"):
                try:
                    return await mission.step("slow", slow)
                finally:
                    await mission.step("after", called.append, "after")

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asks()), group.create_task(acts())]
        return " ".join(task.result() for task in tasks)

    node = await start_node(work)
    assert (await go_on(node, ann, await send(node))).reply == "go done"
    assert called == ["x", "x", "after"]
