"""A message to a session that is at work: it waits, is refused, or ends what is before it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import Busy, InvalidInput
from mission_system.core.identity import Caller
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import InterruptStatus, Outcome, ProcessState

OURS = {"session_id": "ours", "create_session": True}


@dataclass
class Work:
    """An orchestrator that is held until it is let go, asks, or answers at once."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: list[str] = field(default_factory=list)

    async def work(self, mission: Mission) -> str:
        match mission.message.split()[0]:
            case "hold":
                self.begun.set()
                try:
                    await self.gate.wait()
                except asyncio.CancelledError:
                    self.cancelled.append(mission.message)
                    raise
            case "ask":
                return await mission.clarify("which?")
        return f"did {mission.message}"


@pytest.fixture
def work() -> Work:
    return Work()


async def holding(node, send, work: Work):
    """A process of the session that is running."""
    process = await send(node, "hold", wait=None, **OURS)
    await asyncio.wait_for(work.begun.wait(), 10)
    return process


async def test_message_waits_for_its_turn_unless_told_otherwise(
    start_node, send, ann, work
) -> None:
    node = await start_node(work.work)
    await holding(node, send, work)
    second = await send(node, "next", wait=None, **OURS)
    assert second.state is ProcessState.READY
    work.gate.set()
    assert (await node.tower.wait(ann, second.pid, 10)).reply == "did next"


async def test_reject_refuses_while_the_session_is_at_work_and_stores_nothing(
    start_node, send, ann, work
) -> None:
    node = await start_node(work.work)
    first = await holding(node, send, work)
    with pytest.raises(Busy) as refused:
        await send(node, "next", on_busy="reject", **OURS)
    assert refused.value.retry_after > 0
    assert (await node.chat.get_session(ann, "ours")).message_count == 1
    work.gate.set()
    await node.tower.wait(ann, first.pid, 10)
    assert (await send(node, "next", on_busy="reject", **OURS)).reply == "did next"


async def test_reject_does_not_mind_another_session_or_a_question_that_waits(
    start_node, send, work
) -> None:
    node = await start_node(work.work)
    await holding(node, send, work)
    assert (await send(node, "else", on_busy="reject")).reply == "did else"
    asked = await send(node, "ask", session_id="quiet", create_session=True)
    assert asked.state is ProcessState.WAITING
    beside = await send(node, "beside", on_busy="reject", session_id="quiet")
    assert beside.reply == "did beside"


async def test_of_many_that_may_be_rejected_one_is_accepted(start_node, send, ann, work) -> None:
    node = await start_node(work.work)
    sending = (send(node, f"hold {n}", wait=None, on_busy="reject", **OURS) for n in range(20))
    sent = await asyncio.gather(*sending, return_exceptions=True)
    assert sorted(type(each).__name__ for each in sent) == ["Busy"] * 19 + ["ProcessControlBlock"]
    assert len((await node.tower.list_processes(ann)).items) == 1


async def test_reject_counts_what_an_earlier_server_left_in_line(start_node, send, ann) -> None:
    work = Work()
    node = await start_node(work.work)
    await holding(node, send, work)
    await node.stop()
    work = Work()
    node = await start_node(work.work)
    with pytest.raises(Busy):
        await send(node, "next", on_busy="reject", **OURS)


async def test_cancel_previous_ends_the_running_the_queued_and_the_waiting(
    start_node, send, ann, told, work
) -> None:
    node = await start_node(work.work)
    asked = await send(node, "ask", **OURS)
    running = await holding(node, send, work)
    queued = await send(node, "queued", wait=None, **OURS)
    elsewhere = await send(node, "ask", session_id="theirs", create_session=True)
    last = await send(node, "last", on_busy="cancel_previous", **OURS)
    assert last.reply == "did last"
    for before in (asked, running, queued):
        process = await node.tower.get(ann, before.pid)
        assert (process.state, process.outcome) == ("terminated", Outcome.CANCELLED)
        assert process.reason == "superseded"
        assert (await told(node, process))[-1].type == "process.cancelled"
    assert work.cancelled == ["hold"]
    question = await node.tower.get_interrupt(ann, asked.pending.id)
    assert question.status is InterruptStatus.CANCELLED
    assert (await node.tower.get(ann, elsewhere.pid)).state is ProcessState.WAITING


async def test_whoever_waits_for_what_is_superseded_is_told(start_node, send, work) -> None:
    node = await start_node(work.work)
    waiting = asyncio.create_task(send(node, "hold", wait=30, **OURS))
    await asyncio.wait_for(work.begun.wait(), 10)
    await send(node, "last", on_busy="cancel_previous", **OURS)
    assert (await asyncio.wait_for(waiting, 10)).outcome is Outcome.CANCELLED


async def test_who_is_superseded_in_line_takes_no_place_when_another_leaves_it(
    start_node, send, work
) -> None:
    """Behind one that waits for its capability, there is one of another in the same session."""
    full = OrchestratorSpec("full", work.work, max_concurrent=1)
    node = await start_node(full, OrchestratorSpec("other", work.work, max_concurrent=1))
    await send(node, "hold", capability="full", wait=None)
    await asyncio.wait_for(work.begun.wait(), 10)
    first = await send(node, "first", capability="full", wait=None, **OURS)
    second = await send(node, "second", capability="other", wait=None, **OURS)
    last = await send(node, "last", capability="other", on_busy="cancel_previous", **OURS)
    assert last.reply == "did last"
    for before in (first, second):
        outcome = (await node.tower.wait(Caller("ann"), before.pid, 10)).outcome
        assert outcome is Outcome.CANCELLED
    assert (await send(node, "elsewhere", capability="other")).reply == "did elsewhere"
    assert node.tower._dispatcher.abandoned == 0


async def test_a_run_that_is_cancelled_before_it_has_begun_gives_its_place_back(
    start_node, send, work
) -> None:
    node = await start_node(work.work, running_slots=1)
    dispatcher = node.tower._dispatcher
    launch = dispatcher._launch

    def cancelled(job) -> None:
        dispatcher._launch = launch
        launch(job)
        dispatcher._tasks[job.pid].cancel()

    dispatcher._launch = cancelled
    await send(node, "never begins", wait=None)
    assert (await send(node, "next")).reply == "did next"
    assert dispatcher.abandoned == 0


async def test_cancel_previous_finds_room_in_a_full_session(start_node, send, ann, work) -> None:
    node = await start_node(work.work, max_backlog=1)
    await holding(node, send, work)
    await send(node, "queued", wait=None, **OURS)
    with pytest.raises(Busy):
        await send(node, "too much", wait=None, **OURS)
    assert (await send(node, "last", on_busy="cancel_previous", **OURS)).reply == "did last"


async def test_of_many_that_cancel_the_previous_the_last_one_is_left(
    start_node, send, ann, work
) -> None:
    node = await start_node(work.work)
    sending = (
        send(node, f"hold {n}", wait=None, on_busy="cancel_previous", **OURS) for n in range(10)
    )
    sent = await asyncio.gather(*sending)
    work.gate.set()
    ended = [await node.tower.wait(ann, each.pid, 10) for each in sent]
    by_message = sorted(ended, key=lambda process: process.message_id)
    assert [each.outcome for each in by_message] == [Outcome.CANCELLED] * 9 + [Outcome.COMPLETED]


async def test_what_was_superseded_stays_ended_after_a_restart(start_node, send, ann) -> None:
    work = Work()
    node = await start_node(work.work)
    first = await holding(node, send, work)
    work.begun.clear()
    second = await send(node, "hold again", wait=None, on_busy="cancel_previous", **OURS)
    await asyncio.wait_for(work.begun.wait(), 10)
    await node.stop()
    work = Work()
    work.gate.set()
    node = await start_node(work.work)
    assert (await node.tower.wait(ann, second.pid, 10)).reply == "did hold again"
    assert (await node.tower.get(ann, first.pid)).reason == "superseded"


async def test_capability_says_what_happens_and_the_message_may_differ(
    start_node, send, work
) -> None:
    node = await start_node(OrchestratorSpec("work", work.work, on_busy="reject"))
    await holding(node, send, work)
    with pytest.raises(Busy):
        await send(node, "next", **OURS)
    queued = await send(node, "next", wait=None, on_busy="queue", **OURS)
    assert queued.state is ProcessState.READY


async def test_unknown_way_is_refused_by_name(start_node, send, work) -> None:
    node = await start_node(work.work)
    with pytest.raises(InvalidInput) as refused:
        await send(node, on_busy="whatever")
    assert refused.value.field == "on_busy"
