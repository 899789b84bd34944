"""Questions that nobody answers end in time, on every way there is to be late."""

from __future__ import annotations

import asyncio

import pytest

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.clock import SECOND, now
from mission_system.core.errors import Conflict
from mission_system.core.node import Node
from mission_system.core.tower.expiry import Expiry
from mission_system.core.tower.interrupts import InterruptExpired
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import InterruptStatus, Outcome, ProcessState


async def patient(mission: Mission) -> str:
    try:
        return await mission.clarify(f"{mission.message}?")
    except InterruptExpired as expired:
        return f"gave up: {expired}"


async def ended(node: Node, ann, pid: str):
    async with asyncio.timeout(30):
        while (process := await node.tower.wait(ann, pid, 1)).outcome is None:
            await asyncio.sleep(0.01)
    return process


async def let_expire(node: Node, *questions: str) -> None:
    """Move the questions' last moment into the past, behind the tower's back."""
    marks = ", ".join("?" * len(questions))
    await node.database.write(
        lambda tx: tx.execute(
            f"UPDATE interrupt SET expires_at = ? WHERE id IN ({marks})",
            (now() - SECOND, *questions),
        )
    )


async def halt_expiry(node: Node) -> None:
    task = node.tower.upkeep.tasks["expiry"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_answer_after_its_time_is_refused_before_anything_has_expired_it(
    start_node, send, ann
) -> None:
    node = await start_node(patient)
    question = (await send(node)).pending.id
    await halt_expiry(node)
    await let_expire(node, question)
    with pytest.raises(Conflict, match="expired"):
        await node.tower.resume_request(ann, question, "late")
    interrupt = await node.tower.get_interrupt(ann, question)
    assert (interrupt.status, interrupt.answer) == (InterruptStatus.PENDING, None)


async def test_question_whose_time_passed_while_it_was_looked_up_takes_no_answer(
    start_node, send, ann
) -> None:
    node = await start_node(patient)
    question = (await send(node)).pending.id
    await halt_expiry(node)
    interrupt = await node.tower.get_interrupt(ann, question)
    await let_expire(node, question)
    with pytest.raises(Conflict, match="expired"):
        await node.tower._resolver.answer(interrupt, "late")


async def test_question_that_has_time_left_does_not_expire(start_node, send, ann) -> None:
    node = await start_node(patient)
    question = (await send(node)).pending.id
    interrupt = await node.tower.get_interrupt(ann, question)
    assert await node.tower._resolver.expire(interrupt) is None
    process = await node.tower.resume_request(ann, question, "in time", wait=10)
    assert process.reply == "in time"


async def test_question_expires_though_no_server_ran_at_its_time(start_node, send, ann) -> None:
    node = await start_node(patient)
    process = await send(node)
    await halt_expiry(node)
    await let_expire(node, process.pending.id)
    await node.stop()
    again = await start_node(patient)
    process = await ended(again, ann, process.pid)
    assert process.reply == "gave up: nobody answered in time: hi?"


async def test_question_expires_after_a_restart(start_node, send, ann) -> None:
    async def impatient(mission: Mission) -> str:
        try:
            return await mission.clarify("?", timeout=2)
        except InterruptExpired:
            return "gave up"

    node = await start_node(impatient)
    process = await send(node)
    await node.stop()
    again = await start_node(impatient)
    assert (await ended(again, ann, process.pid)).reply == "gave up"


async def test_expiry_is_told(start_node, send, ann, told) -> None:
    async def impatient(mission: Mission) -> str:
        return await mission.clarify("?", timeout=0.01)

    node = await start_node(impatient)
    process = await ended(node, ann, (await send(node)).pid)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "interrupt_expired")
    events = await told(node, process)
    [expired] = [each.payload for each in events if each.type == "interrupt.expired"]
    question = (await node.tower.get_interrupt(ann, expired["interrupt_id"])).question
    assert (expired["kind"], expired["question"]) == ("clarification", question)


async def test_question_expires_on_time_while_another_branch_still_runs(
    start_node, send, ann
) -> None:
    gate = asyncio.Event()

    async def both(mission: Mission) -> str:
        async def ask() -> str:
            try:
                return await mission.clarify("?", timeout=0.01)
            except InterruptExpired:
                return "gave up"

        return " ".join(await mission.gather(ask(), mission.step("work", work)))

    async def work() -> str:
        await gate.wait()
        return "worked"

    node = await start_node(both)
    process = await send(node, wait=None)
    async with asyncio.timeout(20):  # well under the poll that is the last net
        while True:
            rows = await node.database.fetch_all("SELECT status FROM interrupt")
            if [row["status"] for row in rows] == ["expired"]:
                break
            await asyncio.sleep(0.01)
    assert (await node.tower.get(ann, process.pid)).state is ProcessState.RUNNING
    gate.set()
    assert (await ended(node, ann, process.pid)).reply == "gave up worked"


async def test_thousands_expire_at_once_and_one_that_cannot_stops_none(
    start_node, send, ann, monkeypatch
) -> None:
    monkeypatch.setattr("mission_system.core.tower.expiry.BATCH", 50)
    monkeypatch.setattr("mission_system.core.tower.expiry.AT_ONCE", 16)
    count = 300
    node = await start_node(
        OrchestratorSpec("patient", patient, max_concurrent=1000), running_slots=16
    )
    processes = await asyncio.gather(*(send(node, str(n), wait=30) for n in range(count)))
    await halt_expiry(node)
    questions = [process.pending.id for process in processes]
    await let_expire(node, *questions)
    broken, ending, most = questions[7], 0, 0

    async def end(interrupt) -> None:
        nonlocal ending, most
        ending += 1
        most = max(most, ending)
        try:
            await asyncio.sleep(0)
            if interrupt.id == broken:
                raise RuntimeError("broken")
            await node.tower.upkeep._expire(interrupt)
        finally:
            ending -= 1

    expiry = Expiry(node.tower._interrupts, end)
    await expiry._round(now())
    assert most <= 16
    left = await node.tower.pending_interrupts(ann, first=500)
    assert [each.id for each in left] == [broken]
    upkeep = node.tower.upkeep
    upkeep.tasks["expiry"] = asyncio.create_task(upkeep.questions.run())
    for process in processes:
        reply = (await ended(node, ann, process.pid)).reply
        assert reply is not None
        assert reply.startswith("gave up")


async def test_one_that_cannot_be_ended_is_not_tried_over_and_over(start_node, send) -> None:
    node = await start_node(patient)
    question = (await send(node)).pending.id
    await halt_expiry(node)
    await let_expire(node, question)
    tried: list[str] = []
    later = asyncio.Event()

    async def end(interrupt) -> None:
        tried.append(interrupt.id)
        raise RuntimeError("broken")

    expiry = Expiry(node.tower._interrupts, end)
    pauses: list[float] = []
    timeout = asyncio.timeout

    def paused(seconds: float | None):
        pauses.append(seconds or 0)
        later.set()
        return timeout(seconds)

    task = asyncio.create_task(_with_timeout(expiry, paused))
    async with timeout(10):
        await later.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert tried == [question]
    assert pauses[0] > 1


async def _with_timeout(expiry: Expiry, paused) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mission_system.core.tower.expiry.asyncio.timeout", paused)
        await expiry.run()


# races


@pytest.mark.parametrize("rounds", [8])
async def test_answer_expiry_and_cancel_at_once_end_a_question_once(
    start_node, send, ann, rounds: int
) -> None:
    node = await start_node(patient)
    await halt_expiry(node)
    for _ in range(rounds):
        process = await send(node)
        interrupt = process.pending
        await node.database.write(
            lambda tx, id=interrupt.id: tx.execute(
                "UPDATE interrupt SET expires_at = ? WHERE id = ?", (now() + 3000, id)
            )
        )
        await asyncio.gather(
            *(node.tower.resume_request(ann, interrupt.id, f"{n}") for n in range(4)),
            *(node.tower.upkeep._expire(interrupt) for _ in range(4)),
            node.tower.cancel_request(ann, process.pid),
            *(node.tower.resume_request(ann, interrupt.id, f"{n}") for n in range(4)),
            return_exceptions=True,
        )
        steps = await node.tower.steps(ann, process.pid)
        told = await node.database.fetch_all(
            "SELECT type FROM event WHERE pid = ? AND type IN"
            " ('interrupt.resolved', 'interrupt.expired')",
            (process.pid,),
        )
        status = (await node.tower.get_interrupt(ann, interrupt.id)).status
        cancelled = status is InterruptStatus.CANCELLED
        assert status is not InterruptStatus.PENDING
        assert len(told) == len(steps) == (0 if cancelled else 1)
        assert (await ended(node, ann, process.pid)).state is ProcessState.TERMINATED


async def test_of_many_answers_at_once_one_counts_and_the_others_conflict(
    start_node, send, ann
) -> None:
    node = await start_node(patient)
    question = (await send(node)).pending.id
    answers = [node.tower.resume_request(ann, question, f"answer {n}") for n in range(32)]
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert sum(isinstance(result, Conflict) for result in results) == 31
    accepted = await node.tower.get_interrupt(ann, question)
    process = await ended(node, ann, accepted.pid)
    assert process.reply == accepted.answer
