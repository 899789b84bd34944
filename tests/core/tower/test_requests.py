"""Requests: in, run, out; side by side, in order, cancelled, refused."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from mission_system.core.capabilities import OrchestratorSpec, Reply
from mission_system.core.errors import Busy, Conflict, InvalidInput, MissionError, NotFound
from mission_system.core.identity import Caller
from mission_system.core.tower import admission, dispatch
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope, Outcome, ProcessState
from mission_system.core.tower.runner import WORDLESS


async def echo(mission: Mission) -> Reply:
    return Reply(f"echo {mission.message}", {"length": len(mission.message)})


async def test_request_is_answered_and_both_messages_are_stored(start_node, send, ann) -> None:
    node = await start_node(echo)
    process = await send(node, "hello")
    assert (process.state, process.outcome) == (ProcessState.TERMINATED, Outcome.COMPLETED)
    assert process.reply == "echo hello"
    messages = (await node.chat.list_messages(ann, process.session_id)).items
    assert [(m.role, m.content, m.data) for m in messages] == [
        ("user", "hello", {}),
        ("assistant", "echo hello", {"length": 5}),
    ]
    assert process == await node.tower.get(ann, process.pid)
    assert (await node.chat.get_session(ann, process.session_id)).message_count == 2


async def test_only_an_answer_without_text_and_data_is_put_into_words(start_node, send) -> None:
    async def silent(mission: Mission) -> Reply:
        return Reply("", {"rows": 3} if mission.message == "data" else {})

    async def parent(mission: Mission) -> str:
        return repr((await mission.spawn("silent", "x")).text)

    node = await start_node(parent, silent)
    replies = [
        (await send(node, text, capability=name)).reply
        for name, text in (("silent", "x"), ("silent", "data"), ("parent", "x"))
    ]
    assert replies == [WORDLESS, "", "''"]


async def test_a_context_is_nested_only_so_deep(start_node, send) -> None:
    node = await start_node(echo)
    deep: dict[str, Any] = {}
    for _ in range(199):
        deep = {"deep": deep}
    assert (await send(node, context=deep)).outcome is Outcome.COMPLETED
    for levels in (1, 53, 54, 1000):  # what stores it takes 254 levels
        for _ in range(levels):
            deep = {"deep": deep}
        with pytest.raises(InvalidInput, match="context: is nested deeper than 200 levels"):
            await send(node, context=deep)


async def test_a_context_that_is_too_large_is_not_looked_into(
    start_node, send, monkeypatch
) -> None:
    def looked(value: object) -> bool:
        raise AssertionError("this takes the longer, the larger it is")

    node = await start_node(echo)
    monkeypatch.setattr(admission, "nested_too_deep", looked)
    with pytest.raises(InvalidInput, match=r"context: has [0-9]+ bytes of JSON"):
        await send(node, context={"wide": [[]] * 300_000})


async def test_events_tell_the_whole_story_in_order(start_node, send, told) -> None:
    node = await start_node(echo)
    events = await told(node, await send(node))
    assert [event.type for event in events] == [
        "chat.message.created",
        "process.created",
        "process.state_changed",
        "process.state_changed",
        "chat.message.created",
        "process.state_changed",
        "process.completed",
    ]
    moves = [(e.payload["from"], e.payload["to"]) for e in events if "from" in e.payload]
    assert moves == [("new", "ready"), ("ready", "running"), ("running", "terminated")]


async def test_turn_without_steps_costs_two_units(start_node, send) -> None:
    node = await start_node(echo)
    session = (await send(node)).session_id
    before = node.database._writer.units
    await send(node, session_id=session)
    assert node.database._writer.units - before == 2


async def test_fifty_turns_at_once_complete_and_sessions_keep_their_order(
    start_node, send, ann
) -> None:
    async def work(mission: Mission) -> str:
        async with mission.stage("work"):
            await mission.step("a", asyncio.sleep, 0.001)
        return f"done {mission.message}"

    node = await start_node(OrchestratorSpec("work", work, max_concurrent=50))
    sessions = [(await node.chat.create_session(ann)).session_id for _ in range(10)]

    async def talk(session: str) -> None:
        turns = [send(node, str(n), session_id=session) for n in range(5)]
        for n, process in enumerate(await asyncio.gather(*turns)):
            assert process.reply == f"done {n}"

    await asyncio.gather(*map(talk, sessions))
    for session in sessions:
        messages = (await node.chat.list_messages(ann, session)).items
        asked = [m.content for m in messages if m.role == "user"]
        assert sorted(asked) == list("01234")
        replies = [m.content for m in messages if m.role == "assistant"]
        assert replies == [f"done {n}" for n in asked]
        events = await node.events.read(ann, session, limit=500)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        ends = [e.type for e in events if e.type in ("process.completed", "stage.started")]
        assert ends == ["stage.started", "process.completed"] * 5


async def test_request_goes_on_when_whoever_sent_it_is_gone(start_node, send, ann) -> None:
    gate = asyncio.Event()

    async def patient(mission: Mission) -> str:
        await gate.wait()
        return "still here"

    node = await start_node(patient)
    sender = asyncio.create_task(send(node, request_id="r1"))
    while (await node.tower.list_processes(ann)).items == ():
        await asyncio.sleep(0.01)
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
    gate.set()
    process = await node.tower.wait(ann, "r1", 10)
    assert process.reply == "still here"


async def test_waiting_for_a_reply_ends_at_its_time_and_the_process_does_not(
    start_node, send, ann
) -> None:
    gate = asyncio.Event()

    async def patient(mission: Mission) -> str:
        await gate.wait()
        return "late"

    node = await start_node(patient)
    process = await send(node, wait=0.05)
    assert process.state is ProcessState.RUNNING
    gate.set()
    assert (await node.tower.wait(ann, process.pid, 10)).reply == "late"


async def test_failure_is_shown_when_meant_for_the_user_and_masked_otherwise(
    start_node, send
) -> None:
    async def fails(mission: Mission) -> str:
        raise (MissionError if mission.message == "mean it" else KeyError)("secret-token")

    node = await start_node(fails)
    meant = await send(node, "mean it")
    assert (meant.outcome, meant.error) == (Outcome.FAILED, "secret-token")
    masked = await send(node, "oops")
    assert masked.outcome is Outcome.FAILED
    assert "secret-token" not in str(masked)
    assert "incident" in (masked.error or "")


async def test_wrong_return_type_names_what_was_expected(start_node, send) -> None:
    async def wrong(mission: Mission) -> Reply:
        return 42  # type: ignore[return-value]

    process = await send(await start_node(wrong))
    assert process.outcome is Outcome.FAILED
    assert "returned int, expected a Reply" in (process.error or "")


@pytest.mark.parametrize(
    "reply", [Reply("x" * 1_000_001), Reply("x", {"big": "x" * (1 << 20)})], ids=["text", "data"]
)
async def test_reply_beyond_bounds_fails_and_says_by_how_much(start_node, send, reply) -> None:
    async def long(mission: Mission) -> Reply:
        return reply

    process = await send(await start_node(long))
    assert process.outcome is Outcome.FAILED
    assert "are stored" in (process.error or "")


async def test_reply_that_no_database_can_hold_is_repaired_not_lost(start_node, send) -> None:
    async def odd(mission: Mission) -> str:
        return "nul \x00 and half \ud800 a pair"

    process = await send(await start_node(odd))
    assert process.reply == "nul \ufffd and half \ufffd a pair"


@pytest.mark.parametrize(
    ("envelope", "field"),
    [
        ({"message": ""}, "message"),
        ({"message": "x" * 10_001}, "message"),
        ({"message": "nul\x00"}, "message"),
        ({"message": "half\ud800"}, "message"),
        ({"capability": "nobody"}, "capability"),
        ({"request_id": ""}, "request_id"),
        ({"context": {"big": "x" * 70_000}}, "context"),
    ],
)
async def test_bad_request_names_the_field_and_stores_nothing(
    start_node, ann, envelope, field
) -> None:
    node = await start_node(echo)
    with pytest.raises(InvalidInput) as error:
        await node.tower.submit_request(Envelope(**{"caller": ann, "message": "hi"} | envelope))
    assert error.value.field == field
    assert (await node.tower.list_processes(ann)).items == ()
    assert (await node.chat.list_sessions(ann)).items == ()
    assert node.tower.depth == (0, 0)


async def test_what_belongs_to_others_does_not_exist(start_node, send) -> None:
    node = await start_node(echo)
    process = await send(node)
    bob = Caller("bob")
    for attempt in (
        node.tower.get(bob, process.pid),
        node.tower.steps(bob, process.pid),
        node.tower.cancel_request(bob, process.pid),
        node.tower.wait(bob, process.pid, 1),
        node.chat.get_session(bob, process.session_id),
        node.chat.get_message(bob, process.message_id),
        node.events.read(bob, process.session_id),
        node.tower.submit_request(
            Envelope(caller=bob, message="hi", session_id=process.session_id)
        ),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await node.tower.get_many(bob, [process.pid]) == {}
    with pytest.raises(NotFound):
        await anext(node.events.follow_process(bob, process.pid))


async def test_request_id_finds_the_process_and_is_used_once(start_node, send, ann) -> None:
    node = await start_node(echo)
    process = await send(node, request_id="mine")
    assert (await node.tower.get(ann, "mine")).pid == process.pid
    with pytest.raises(Conflict, match="mine"):
        await send(node, request_id="mine")
    assert len((await node.tower.list_processes(ann)).items) == 1
    bob = Envelope(caller=Caller("bob"), message="hi", request_id="mine")
    assert (await node.tower.submit_request(bob, wait=5)).process.reply == "echo hi"


async def test_session_that_does_not_exist_is_made_only_when_asked(start_node, send, ann) -> None:
    node = await start_node(echo)
    with pytest.raises(NotFound):
        await send(node, session_id="new")
    process = await send(node, session_id="new", create_session=True)
    assert process.session_id == "new"
    again = await send(node, session_id="new", create_session=True)
    assert again.session_id == "new"
    assert (await node.chat.get_session(ann, "new")).message_count == 4


async def test_full_session_refuses_with_a_time_to_retry_and_stores_nothing(
    start_node, send, ann
) -> None:
    gate = asyncio.Event()

    async def patient(mission: Mission) -> str:
        await gate.wait()
        return "ok"

    node = await start_node(patient, max_backlog=2)
    session = (await node.chat.create_session(ann)).session_id
    sent = [await send(node, session_id=session, wait=None) for _ in range(3)]
    with pytest.raises(Busy) as busy:
        await send(node, session_id=session)
    assert busy.value.retry_after > 0
    gate.set()
    for process in sent:
        assert (await node.tower.wait(ann, process.pid, 10)).reply == "ok"
    assert (await node.chat.get_session(ann, session)).message_count == 6


# cancelling


async def test_cancelling_ends_an_async_step_at_once(start_node, send, ann) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def stuck(mission: Mission) -> str:
        try:
            entered.set()
            await mission.step("wait", asyncio.sleep, 3600)
        finally:
            left.set()
        return "never"

    node = await start_node(stuck)
    waiting = asyncio.create_task(send(node))
    await entered.wait()
    pid = (await node.tower.list_processes(ann)).items[0].pid
    process = await node.tower.cancel_request(ann, pid, "changed my mind")
    assert (process.outcome, process.reason) == (Outcome.CANCELLED, "changed my mind")
    async with asyncio.timeout(10):
        await left.wait()
        assert (await waiting).outcome is Outcome.CANCELLED
        while node.tower.depth != (0, 0):
            await asyncio.sleep(0)
    with pytest.raises(Conflict):
        await node.tower.cancel_request(ann, pid)


async def test_cancelling_abandons_a_thread_and_the_pool_stays_bounded(
    start_node, send, ann, monkeypatch
) -> None:
    gate = threading.Event()
    blocked: list[int] = []

    def block() -> None:
        blocked.append(threading.get_ident())
        gate.wait(30)

    async def stuck(mission: Mission) -> str:
        await mission.step("block", block)
        return "never"

    node = await start_node(stuck, tool_threads=2)
    threads = node.runtime.threads
    for number in (1, 2):
        process = await send(node, wait=None)
        while len(blocked) < number:
            await asyncio.sleep(0.01)
        await node.tower.cancel_request(ann, process.pid)
        while node.tower.depth != (0, 0):
            await asyncio.sleep(0.01)
    assert (threads.busy, threads.abandoned) == (2, 2)
    asked = asyncio.Event()
    run = threads.run

    async def watched(*args: Any, **kwargs: Any) -> Any:
        asked.set()
        return await run(*args, **kwargs)

    monkeypatch.setattr(threads, "run", watched)
    third = await send(node, wait=None)
    await asyncio.wait_for(asked.wait(), 10)  # it waits for a thread; no third one is started
    assert (threads.busy, threads.abandoned) == (2, 2)
    gate.set()
    assert (await node.tower.wait(ann, third.pid, 10)).reply == "never"
    while threads.abandoned:
        await asyncio.sleep(0.01)
    assert len(set(blocked)) == 2


async def test_cancelling_what_waits_in_line_lets_the_next_one_run(start_node, send, ann) -> None:
    gate = asyncio.Event()
    ran: list[str] = []

    async def patient(mission: Mission) -> str:
        ran.append(mission.message)
        await gate.wait()
        return "ok"

    node = await start_node(patient)
    session = (await node.chat.create_session(ann)).session_id
    first, second, third = [
        await send(node, name, session_id=session, wait=None) for name in ("1", "2", "3")
    ]
    await node.tower.cancel_request(ann, second.pid)
    gate.set()
    assert (await node.tower.wait(ann, third.pid, 10)).reply == "ok"
    assert ran == ["1", "3"]
    assert (await node.tower.get(ann, first.pid)).reply == "ok"


async def test_run_that_swallows_its_cancellation_writes_nothing_and_loses_its_place(
    start_node, send, ann, monkeypatch
) -> None:
    monkeypatch.setattr(dispatch, "ABANDON_SECONDS", 0.05)
    entered, gate = asyncio.Event(), asyncio.Event()

    async def stubborn(mission: Mission) -> str:
        if mission.message == "next":
            return "ok"
        try:
            entered.set()
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await gate.wait()
        return "too late"

    node = await start_node(stubborn, running_slots=1)
    process = await send(node, wait=None)
    await entered.wait()
    await node.tower.cancel_request(ann, process.pid)
    assert (await send(node, "next")).reply == "ok"
    gate.set()
    await asyncio.sleep(0.05)
    assert (await node.tower.get(ann, process.pid)).outcome is Outcome.CANCELLED
    assert (await node.chat.get_session(ann, process.session_id)).message_count == 1


# time


async def test_process_ends_when_its_running_time_is_over(start_node, send, told) -> None:
    async def slow(mission: Mission) -> str:
        await mission.step("wait", asyncio.sleep, 3600)
        return "never"

    node = await start_node(slow, quota={"timeout_seconds": 0.2, "soft_timeout_seconds": 0.05})
    began = time.monotonic()
    process = await send(node)
    assert time.monotonic() - began < 5
    assert (process.outcome, process.reason) == (Outcome.FAILED, "timeout_exceeded")
    types = [event.type for event in await told(node, process)]
    assert types.count("resource.warning") == 1


async def test_priorities_decide_who_runs_next(start_node, ann) -> None:
    gate = asyncio.Event()
    order: list[str] = []

    async def work(mission: Mission) -> str:
        order.append(mission.message)
        await gate.wait()
        return "ok"

    node = await start_node(work, running_slots=1)
    names = ["first", "idle", "normal", "realtime"]
    sent = []
    for name in names:
        priority = "normal" if name == "first" else name
        request = Envelope(caller=ann, message=name)
        sent.append((await node.tower.submit_request(request, priority)).process)
    gate.set()
    for process in sent:
        await node.tower.wait(ann, process.pid, 10)
    assert order == ["first", "realtime", "normal", "idle"]
