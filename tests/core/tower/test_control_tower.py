"""What the tower has stored it runs: whoever leaves, however it was sent, whatever fails."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec
from mission_system.core.chat.paging import Window
from mission_system.core.errors import MissionError, Unavailable
from mission_system.core.tower import execution
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope, Outcome, ProcessState


async def echo(mission: Mission) -> str:
    return f"echo {mission.message}"


async def asks(mission: Mission) -> str:
    return await mission.clarify("?")


TURNS = (*range(30), None)


async def leave_after(node, work, turns: int | None) -> None:
    """Call something, and be gone after so many turns of the event loop; None: as soon as the
    tower does what cannot be taken back, however fast the machine gets there."""
    task = asyncio.create_task(work)
    if turns is None:
        async with asyncio.timeout(10):
            while not node.tower._accepted.under_way:
                await asyncio.sleep(0)
    for _ in range(turns or 0):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def settled(node, ann) -> list:
    """Every process, once nothing runs and nothing is in line."""
    async with asyncio.timeout(10):
        while node.tower._accepted.under_way or node.tower.depth != (0, 0):
            await asyncio.sleep(0.001)
    return list((await node.tower.list_processes(ann, Window(100))).items)


async def test_request_whose_sender_leaves_at_any_moment_is_not_left_half_done(
    start_node, ann
) -> None:
    node = await start_node(echo)
    for turns in TURNS:
        request = Envelope(caller=ann, message=str(turns), request_id=f"r{turns}")
        await leave_after(node, node.tower.submit_request(request), turns)
    processes = await settled(node, ann)
    assert processes
    assert {process.outcome for process in processes} == {Outcome.COMPLETED}


async def test_answer_whose_sender_leaves_at_any_moment_is_not_lost(start_node, send, ann) -> None:
    node = await start_node(OrchestratorSpec("asks", asks, max_concurrent=50))
    for turns in TURNS:
        question = (await send(node)).pending.id
        await leave_after(node, node.tower.resume_request(ann, question, "A"), turns)
    for process in await settled(node, ann):
        waits = process.state is ProcessState.WAITING
        assert waits is (process.pending is not None)
        assert waits or process.reply == "A"


async def test_cancellation_whose_sender_leaves_at_any_moment_stops_the_run(
    start_node, send, ann
) -> None:
    async def stuck(mission: Mission) -> str:
        await mission.step("wait", asyncio.sleep, 3600)
        return "never"

    node = await start_node(OrchestratorSpec("stuck", stuck, max_concurrent=50))
    for turns in TURNS:
        process = await send(node, wait=None)
        await leave_after(node, node.tower.cancel_request(ann, process.pid), turns)
    async with asyncio.timeout(10):
        while node.tower._accepted.under_way:
            await asyncio.sleep(0)
    processes = (await node.tower.list_processes(ann, Window(100))).items
    cancelled = [process for process in processes if process.outcome is Outcome.CANCELLED]
    assert cancelled
    async with asyncio.timeout(10):
        while node.tower.depth[0] != len(processes) - len(cancelled):
            await asyncio.sleep(0.001)


async def test_session_may_be_created_by_several_requests_at_once(start_node, send, ann) -> None:
    node = await start_node(echo)
    sent = [send(node, str(n), session_id="new", create_session=True) for n in range(5)]
    processes = await asyncio.gather(*sent)
    assert [process.reply for process in processes] == [f"echo {n}" for n in range(5)]
    assert (await node.chat.get_session(ann, "new")).message_count == 10


async def test_session_keeps_its_order_over_a_restart(start_node, send, ann) -> None:
    gate = asyncio.Event()
    order: list[str] = []

    async def work(mission: Mission) -> str:
        await gate.wait()
        order.append(mission.message)
        return "ok"

    node = await start_node(work)
    session = (await node.chat.create_session(ann)).session_id
    turns = [send(node, str(n), session_id=session, wait=None) for n in range(30)]
    sent = sorted(await asyncio.gather(*turns), key=lambda process: process.message_id)
    await node.stop()
    gate.set()
    node = await start_node(work)
    for process in sent:
        assert (await node.tower.wait(ann, process.pid, 10)).reply == "ok"
    assert order == [process.message for process in sent]


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("failing", range(1, 9))
async def test_storage_that_fails_for_a_moment_only_delays_a_process(
    start_node, send, ann, monkeypatch, failing: int, written: bool
) -> None:
    """From the first of several units on, with the unit `written` all the same or not; the run is
    taken up again where the journal ends."""
    monkeypatch.setattr(execution, "RETRY_SECONDS", (0.01, 0.02))
    called: list[str] = []

    async def work(mission: Mission) -> str:
        for name in ("a", "b"):
            await mission.step(name, called.append, name)
        return "done"

    node = await start_node(work, running_slots=1)
    blocker = await send(node, wait=None)
    process = await send(node, "second", wait=None)
    write, count = node.database.write, 0

    errors = [OSError("disk full"), sqlite3.OperationalError("locked"), Unavailable("away")]

    async def brittle(unit):
        nonlocal count
        count += 1
        if failing <= count < failing + 3:
            if written:
                await write(unit)
            raise errors[count - failing]
        return await write(unit)

    monkeypatch.setattr(node.database, "write", brittle)
    for pid in (blocker.pid, process.pid):
        process = await node.tower.wait(ann, pid, 10)
        assert (process.state, process.reply) == (ProcessState.TERMINATED, "done")
    assert len(called) <= 4 + 3
    assert (await settled(node, ann))[0].state is ProcessState.TERMINATED


async def test_who_waits_while_the_server_stops_is_not_kept_for_the_whole_time(
    start_node, send, ann
) -> None:
    async def stuck(mission: Mission) -> str:
        return await mission.step("wait", asyncio.sleep, 3600)

    node = await start_node(stuck)
    process = await send(node, wait=None)
    await node.tower.stop()
    async with asyncio.timeout(10):
        assert not (await node.tower.wait(ann, process.pid, 3600)).settled


async def test_question_that_was_stored_though_the_storage_said_no_is_told(
    start_node, send, monkeypatch
) -> None:
    monkeypatch.setattr(execution, "RETRY_SECONDS", (0.01, 0.02))
    node = await start_node(asks)
    write = node.database.write

    async def brittle(unit):
        result = await write(unit)
        if unit.__qualname__.startswith("Ledger"):
            monkeypatch.undo()
            raise OSError("connection lost")
        return result

    monkeypatch.setattr(node.database, "write", brittle)
    assert (await send(node)).pending.question == "?"


@pytest.mark.parametrize("text", ["half \ud800", "nul \0"])
async def test_error_that_no_database_can_hold_ends_its_process_all_the_same(
    start_node, send, text: str
) -> None:
    async def fails(mission: Mission) -> str:
        raise MissionError(f"{text} a pair")

    process = await send(await start_node(fails))
    assert process.outcome is Outcome.FAILED
    assert process.reason == MissionError.code.lower()
    assert process.error == f"{text[:-1]}\ufffd a pair"


@pytest.mark.parametrize("number", [0, -1])
def test_capability_that_could_never_run_is_not_served(number: int) -> None:
    async def idle(mission: Mission) -> str:
        return "never"

    spec = OrchestratorSpec("idle", idle, max_concurrent=number)
    with pytest.raises(ValueError, match=f"max_concurrent={number} lets none"):
        CapabilityRegistry((spec,))
    registry = CapabilityRegistry()
    with pytest.raises(ValueError, match="lets none"):
        registry.register(spec)
    assert "idle" not in registry
    assert list(registry) == []


async def test_unit_that_no_retry_can_help_ends_its_process(start_node, send, monkeypatch) -> None:
    node = await start_node(OrchestratorSpec("asks", asks))
    write, refused = node.database.write, 0

    async def refuse(unit):
        nonlocal refused
        if unit.__qualname__.startswith("Ledger") and not refused:
            refused += 1
            raise sqlite3.IntegrityError("UNIQUE constraint failed")
        return await write(unit)

    monkeypatch.setattr(node.database, "write", refuse)
    process = await send(node)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "not_stored")


async def test_run_that_fails_for_another_reason_than_storage_is_not_repeated(
    start_node, send, ann, monkeypatch
) -> None:
    node = await start_node(echo)
    runs = 0

    async def broken(start):
        nonlocal runs
        runs += 1
        raise LookupError("a defect")

    monkeypatch.setattr(execution, "RETRY_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(node.tower._runner, "run", broken)
    await send(node, wait=None)
    await settled(node, ann)
    assert runs == 1
