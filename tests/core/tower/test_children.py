"""Children: a process waits for others that it has spawned, and holds nothing meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mission_system.core.capabilities import OrchestratorSpec, Reply
from mission_system.core.errors import ChildFailed, InvalidInput, QuotaExceeded
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.tower import execution
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Outcome, ProcessControlBlock, ProcessState, Quota


async def part(mission: Mission) -> Reply:
    """Answers, asks or fails, as its message says."""
    if mission.message.startswith("ask"):
        return Reply(await mission.clarify(f"{mission.message}?"))
    if mission.message.startswith("fail"):
        raise QuotaExceeded("max_patience_exceeded", "no more of this")
    await mission.step("work", asyncio.sleep, 0)
    return Reply(mission.message.upper(), {"context": mission.context})


async def all_of(node: Node) -> list[ProcessControlBlock]:
    """Ann's processes, parents first, siblings by what they were sent."""
    found = await node.tower.list_processes(Caller("ann"))
    return sorted(found.items, key=lambda process: (process.depth, process.message))


async def until(node: Node, pid: str, *states: ProcessState) -> ProcessControlBlock:
    async with asyncio.timeout(20):
        while (process := await node.tower.get(Caller("ann"), pid)).state not in states:
            await asyncio.sleep(0.01)
    return process


def calls(*spawned: str) -> Any:
    """An orchestrator that spawns `part` for each message, all at once."""

    async def boss(mission: Mission) -> str:
        replies = await mission.gather(*(mission.spawn("part", each) for each in spawned))
        return " ".join(reply.text for reply in replies)

    return boss


# what the parent gets


async def test_parent_gets_the_reply_of_its_child_with_its_data(start_node, send, told) -> None:
    runs: list[str] = []

    async def boss(mission: Mission) -> str:
        runs.append(mission.pid)
        reply = await mission.spawn("part", "one", context={"page": 3})
        assert isinstance(reply, Reply)
        return f"{reply.text} {reply.data}"

    node = await start_node(boss, part)
    process = await send(node)
    assert process.reply == "ONE {'context': {'page': 3}}"
    assert len(runs) == 2
    parent, child = await all_of(node)
    assert (child.parent_pid, child.depth, child.outcome) == (parent.pid, 1, Outcome.COMPLETED)
    assert (child.reply, child.reply_message_id) == ("ONE", None)
    assert child.message_id == parent.message_id
    moves = [
        (event.payload["to"], event.payload.get("reason"))
        for event in await told(node, parent)
        if event.type == "process.state_changed"
    ]
    assert moves == [
        ("ready", None),
        ("running", None),
        ("blocked", "child"),
        ("ready", "child_ended"),
        ("running", None),
        ("terminated", None),
    ]
    assert [event.type for event in await told(node, child)][-1] == "process.completed"
    chat = await node.chat.list_messages(Caller("ann"), parent.session_id)
    assert [message.role for message in chat.items] == ["user", "assistant"]
    steps = await node.tower.steps(Caller("ann"), parent.pid)
    assert [(step.kind, step.name, step.status) for step in steps] == [
        ("spawn", "part", "completed")
    ]


async def test_children_of_one_gather_all_run_and_come_back_in_order(start_node, send) -> None:
    node = await start_node(calls("one", "two", "three"), part)
    assert (await send(node)).reply == "ONE TWO THREE"


async def test_failure_of_a_child_reaches_its_parent_the_same_on_replay(
    start_node, send, ann
) -> None:
    seen: list[tuple[str, str]] = []

    async def boss(mission: Mission) -> str:
        try:
            await mission.spawn("part", "fail")
        except ChildFailed as error:
            seen.append((error.reason, error.text))
        return await mission.clarify("go on?")

    node = await start_node(boss, part)
    process = await send(node)
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.reply == "yes"
    assert seen == [("max_patience_exceeded", "no more of this")] * 2


async def test_parent_that_does_not_catch_it_fails_with_its_child(start_node, send) -> None:
    process = await send(await start_node(calls("one", "fail"), part))
    assert (process.outcome, process.reason) == (Outcome.FAILED, "child_failed")
    assert "no more of this" in (process.error or "")


async def test_child_of_an_unknown_capability_has_failed(start_node, send, ann) -> None:
    """Also on a replay, though the capability may be there by then."""

    async def boss(mission: Mission) -> str:
        with pytest.raises(ChildFailed, match="'nobody' is not served here; choose from: boss"):
            await mission.spawn("nobody", "hi")
        await mission.clarify("Go on?")
        await mission.spawn("nobody either", "hi")
        return "never"

    node = await start_node(boss)
    process = await send(node)
    assert len(await all_of(node)) == 1
    await node.stop()
    node = await start_node(boss, OrchestratorSpec("nobody", part))
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "child_failed")
    assert "'nobody either' is not served here" in str(process.error)


async def test_message_that_is_none_is_refused_before_anything_is_stored(start_node, send) -> None:
    async def boss(mission: Mission) -> str:
        with pytest.raises(InvalidInput, match="message"):
            await mission.spawn("part", "")
        return "refused"

    node = await start_node(boss, part)
    assert (await send(node)).reply == "refused"
    assert len(await all_of(node)) == 1
    assert await node.database.fetch_all("SELECT * FROM step") == []


# places


@pytest.mark.parametrize("depth", [3])
async def test_recursion_needs_one_slot_only(start_node, send, depth: int) -> None:
    async def tree(mission: Mission) -> str:
        level = int(mission.message)
        if level == 0:
            return "leaf"
        replies = await mission.gather(*(mission.spawn("tree", str(level - 1)) for _ in "ab"))
        return f"({' '.join(reply.text for reply in replies)})"

    node = await start_node(
        OrchestratorSpec("tree", tree, max_concurrent=1), running_slots=1, max_ready=1
    )
    process = await send(node, str(depth), wait=30)
    assert process.reply == "(((leaf leaf) (leaf leaf)) ((leaf leaf) (leaf leaf)))"
    assert len(await all_of(node)) == 15
    assert node.tower.depth == (0, 0)


async def test_depth_is_bounded(start_node, send) -> None:
    async def deeper(mission: Mission) -> str:
        try:
            return (await mission.spawn("deeper", "go")).text
        except QuotaExceeded as error:
            return f"{error.reason}"

    node = await start_node(deeper, max_depth=2)
    assert (await send(node)).reply == "max_depth_exceeded"
    assert [process.depth for process in await all_of(node)] == [0, 1, 2]


async def test_session_goes_on_while_a_parent_waits_for_its_child(start_node, send, ann) -> None:
    async def boss(mission: Mission) -> str:
        if mission.message == "quick":
            return "quick"
        return (await mission.spawn("part", "ask")).text

    node = await start_node(boss, part)
    process = await send(node)
    assert (process.state, process.reason) == (ProcessState.BLOCKED, "child")
    assert node.tower.depth == (0, 0)
    assert (await send(node, "quick", session_id=process.session_id)).reply == "quick"


# questions


async def test_question_of_a_child_ends_the_wait_for_its_parent(start_node, send, ann) -> None:
    async def boss(mission: Mission) -> str:
        return (await mission.spawn("middle", mission.message)).text

    async def middle(mission: Mission) -> str:
        first = await mission.spawn("part", "ask one")
        second = await mission.spawn("part", "ask two")
        return f"{first.text} {second.text}"

    node = await start_node(boss, middle, part)
    process = await send(node, wait=20)
    root = process.pid
    assert (process.depth, process.pending.question) == (0, "ask one?")
    assert await node.tower.wait(ann, root, 10) == process
    process = await node.tower.resume_request(ann, process.pending.id, "1", wait=20)
    assert (process.pid, [each.question for each in process.interrupts]) == (root, ["ask two?"])
    process = await node.tower.resume_request(ann, process.pending.id, "2", wait=20)
    assert (process.pid, process.reply, process.interrupts) == (root, "1 2", ())


async def test_one_child_may_ask_twice_and_each_question_ends_a_wait(start_node, send, ann) -> None:
    async def asks(mission: Mission) -> str:
        return await mission.clarify("first?") + await mission.clarify("second?")

    async def boss(mission: Mission) -> str:
        return (await mission.spawn("asks", "hi")).text

    node = await start_node(boss, asks)
    process = await send(node)
    process = await node.tower.resume_request(ann, process.pending.id, "a", wait=10)
    assert [each.question for each in process.interrupts] == ["second?"]
    process = await node.tower.resume_request(ann, process.pending.id, "b", wait=10)
    assert process.reply == "ab"


@pytest.mark.parametrize("first", ["own?", "ask?"])
async def test_question_and_child_may_be_awaited_together(
    start_node, send, ann, first: str
) -> None:
    async def boss(mission: Mission) -> str:
        own, child = await mission.gather(mission.clarify("own?"), mission.spawn("part", "ask"))
        return f"{own} {child.text}"

    node = await start_node(boss, part)
    process = await send(node)
    assert process.state is ProcessState.WAITING
    async with asyncio.timeout(20):
        while len(process.interrupts) < 2:  # the child has not asked yet
            await asyncio.sleep(0.01)
            process = await node.tower.get(ann, process.pid)
    questions = {each.question: each.id for each in process.interrupts}
    second = ({"own?", "ask?"} - {first}).pop()
    process = await node.tower.resume_request(ann, questions[first], first, wait=10)
    assert [each.question for each in process.interrupts] == [second]
    process = await node.tower.resume_request(ann, questions[second], second, wait=10)
    assert process.reply == "own? ask?"


async def test_who_follows_a_process_hears_what_its_children_ask(
    start_node, send, ann, told
) -> None:
    async def boss(mission: Mission) -> str:
        return (await mission.spawn("middle", mission.message)).text

    async def middle(mission: Mission) -> str:
        return (await mission.spawn("part", "ask")).text

    node = await start_node(boss, middle, part)
    process = await send(node)
    question = process.pending
    heard: list[str] = []
    async for event in node.events.follow_process(ann, process.pid):
        heard.append(event.type)
        if event.type == "interrupt.raised":
            assert event.pid == question.pid != process.pid
            await node.tower.resume_request(ann, question.id, "yes")
    assert heard.count("interrupt.raised") == heard.count("interrupt.resolved") == 1
    assert heard.count("process.created") == heard.count("process.completed") == 1
    late = [event.type for event in await told(node, process)]
    assert late == heard


# ends


async def test_child_cancelled_by_its_user_fails_in_its_parent(start_node, send, ann) -> None:
    async def boss(mission: Mission) -> str:
        try:
            return (await mission.spawn("part", "ask")).text
        except ChildFailed as error:
            return f"{error.capability}: {error.reason}"

    node = await start_node(boss, part)
    process = await send(node)
    await node.tower.cancel_request(ann, process.pending.pid, "not needed")
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.reply == "part: not needed"
    assert await node.tower.pending_interrupts(ann) == []


async def test_cancel_of_a_parent_reaches_everything_below_it(start_node, send, ann) -> None:
    stopped = asyncio.Event()

    async def works(mission: Mission) -> str:
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()
        return "never"

    async def middle(mission: Mission) -> str:
        await mission.gather(mission.spawn("part", "ask"), mission.spawn("works", "on"))
        return "never"

    async def boss(mission: Mission) -> str:
        return (await mission.spawn("middle", "go")).text

    node = await start_node(boss, middle, part, works)
    process = await send(node)
    async with asyncio.timeout(20):
        while node.tower.depth[0] == 0:
            await asyncio.sleep(0.01)
    await node.tower.cancel_request(ann, process.pid)
    await asyncio.wait_for(stopped.wait(), 10)
    for each in await all_of(node):
        assert (each.state, each.outcome) == (ProcessState.TERMINATED, Outcome.CANCELLED)
        assert each.reason == ("parent_ended" if each.depth else "cancelled by user")
    assert await node.tower.pending_interrupts(ann) == []
    async with asyncio.timeout(10):
        while node.tower.depth != (0, 0):
            await asyncio.sleep(0.01)


async def test_children_of_a_process_that_fails_are_cancelled(start_node, send, ann) -> None:
    async def boss(mission: Mission) -> str:
        async def own() -> None:
            await mission.clarify("own?")
            await mission.step("slow", asyncio.sleep, 3600)

        await mission.gather(own(), mission.spawn("part", "ask"))
        return "never"

    quota = {"timeout_seconds": 3, "soft_timeout_seconds": 2}
    node = await start_node(boss, part, quota=quota)
    process = await send(node)
    while len(process.interrupts) < 2:
        await asyncio.sleep(0.01)
        process = await node.tower.get(ann, process.pid)
    own = next(each for each in process.interrupts if each.question == "own?")
    process = await node.tower.resume_request(ann, own.id, "yes", wait=20)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "timeout_exceeded")
    _, child = await all_of(node)
    assert (child.outcome, child.reason) == (Outcome.CANCELLED, "parent_ended")
    assert await node.tower.pending_interrupts(ann) == []


# blocked


@pytest.mark.parametrize("end", ["resume", "cancel"])
async def test_wait_for_a_parent_ends_where_its_child_is_blocked(
    start_node, send, ann, end: str
) -> None:
    async def middle(mission: Mission) -> str:
        return (await mission.spawn("part", "ask")).text

    async def boss(mission: Mission) -> str:
        try:
            return (await mission.spawn("middle", "go")).text
        except ChildFailed as error:
            return error.text

    node = await start_node(boss, middle, part)
    process = await send(node)
    child = process.pending.pid
    await node.stop()
    node = await start_node(boss, middle)
    async with asyncio.timeout(30):
        process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=3600)
    assert (process.depth, process.state, process.reason) == (0, ProcessState.BLOCKED, "child")
    assert f"process {child} (part), which is blocked (missing_capability)" in process.error
    async with asyncio.timeout(30):
        assert await node.tower.wait(ann, process.pid, 3600) == process
    if end == "resume":
        await node.stop()
        node = await start_node(boss, middle, part)
    else:
        await node.tower.cancel_request(ann, child)
    process = await node.tower.wait(ann, process.pid, 60)
    assert process.outcome is Outcome.COMPLETED
    assert process.error is None
    assert (process.reply == "yes") == (end == "resume")


async def test_parent_that_stops_at_a_blocked_child_is_settled_at_once(
    start_node, send, ann
) -> None:
    async def boss(mission: Mission) -> str:
        await mission.gather(mission.spawn("part", "ask"), mission.clarify("own?"))
        return "never"

    node = await start_node(boss, part)
    process = await send(node)
    async with asyncio.timeout(20):
        while len(process.interrupts) < 2:
            await asyncio.sleep(0.01)
            process = await node.tower.get(ann, process.pid)
    await node.stop()
    node = await start_node(boss)
    questions = {each.question: each for each in process.interrupts}
    child = questions["ask?"].pid
    await node.tower.resume_request(ann, questions["ask?"].id, "yes")
    await until(node, child, ProcessState.BLOCKED)
    async with asyncio.timeout(30):
        process = await node.tower.resume_request(ann, questions["own?"].id, "yes", wait=3600)
    assert (process.state, process.reason) == (ProcessState.BLOCKED, "child")
    assert child in process.error


# quotas


async def test_children_share_what_their_parent_has_left(start_node, send, ann) -> None:
    async def boss(mission: Mission) -> str:
        await mission.llm().complete("one")
        await mission.gather(
            mission.spawn("part", "one"),
            mission.spawn("part", "two", quota=Quota(max_llm_calls=1, max_steps=5)),
        )
        return "done"

    node = await start_node(boss, part)
    await send(node)
    _, one, two = await all_of(node)
    assert (one.quota.max_llm_calls, two.quota.max_llm_calls) == (4, 1)
    assert (one.quota.max_tool_calls, two.quota.max_steps) == (25, 5)
    assert one.quota.max_steps == (1000 - 3) // 2
    assert 149 < one.quota.timeout_seconds <= 150


async def test_what_a_child_uses_counts_as_its_parents(start_node, send) -> None:
    async def leaf(mission: Mission) -> str:
        await mission.gather(*(mission.llm().complete("hello") for _ in range(2)))
        return "leaf"

    async def boss(mission: Mission) -> str:
        await mission.gather(mission.spawn("leaf", "a"), mission.spawn("leaf", "b"))
        return (await mission.llm().complete("hello")).text

    node = await start_node(boss, leaf)
    process = await send(node)
    stored, *children = await all_of(node)
    assert process.outcome is Outcome.COMPLETED
    assert stored.usage.llm_calls == 5
    assert stored.usage.steps == 7
    assert stored.usage.tokens_in == 5 * children[0].usage.tokens_in // 2
    spent = sum(child.usage.elapsed_seconds for child in children)
    assert stored.usage.elapsed_seconds > spent


async def hops(mission: Mission, count: int) -> None:
    for number in range(count):
        async with mission.stage(f"stage {number}"):
            pass


async def rounds(mission: Mission, count: int) -> None:
    async for number in mission.rounds():
        if number == count:
            return


@pytest.mark.parametrize(("use", "name"), [(hops, "agent_hops"), (rounds, "iterations")])
@pytest.mark.parametrize(("most", "reason"), [(6, None), (5, "exceeded")])
async def test_hops_and_rounds_of_a_child_leave_its_parent_fewer(
    start_node, send, use, name: str, most: int, reason: str | None
) -> None:
    async def leaf(mission: Mission) -> str:
        await use(mission, 3)
        return "leaf"

    async def boss(mission: Mission) -> str:
        await use(mission, 1)
        await mission.spawn("leaf", "a")
        await use(mission, 2)
        return "boss"

    node = await start_node(boss, leaf, quota={f"max_{name}": most})
    process = await send(node)
    assert process.reason == (reason and f"max_{name}_{reason}")
    assert getattr(process.usage, name) == most


async def test_child_that_uses_most_of_a_limit_leaves_its_parent_a_warning(
    start_node, send, told
) -> None:
    async def leaf(mission: Mission) -> str:
        await mission.gather(*(mission.llm().complete("hello") for _ in range(9)))
        return "leaf"

    async def boss(mission: Mission) -> str:
        await mission.spawn("leaf", "a")
        return (await mission.llm().complete("hello")).text

    node = await start_node(boss, leaf)
    process = await send(node)
    warnings = [
        event.payload
        for event in await told(node, process)
        if event.type == "resource.warning" and event.pid == process.pid
    ]
    assert warnings == [{"resource": "llm_calls", "used": 10, "limit": 10}]


async def test_parent_may_use_what_it_has_given_to_a_child_once_that_has_ended(
    start_node, send, ann
) -> None:
    async def works(mission: Mission) -> int:
        done = 0
        while True:
            try:
                await mission.step("work", asyncio.sleep, 0)
            except QuotaExceeded:
                return done
            done += 1

    async def boss(mission: Mission) -> str:
        async def own() -> int:
            await mission.clarify("own?")
            return await works(mission)

        first, _ = await mission.gather(own(), mission.spawn("part", "ask"))
        return f"{first} {await works(mission)}"

    node = await start_node(boss, part, quota=Quota(max_steps=20))
    process = await send(node)
    async with asyncio.timeout(20):
        while len(process.interrupts) < 2:
            await asyncio.sleep(0.01)
            process = await node.tower.get(ann, process.pid)
    questions = {each.question: each for each in process.interrupts}
    child = await node.tower.get(ann, questions["ask?"].pid)
    assert child.quota.max_steps == 9  # of 18 that are left, for its parent may go on meanwhile
    await node.tower.resume_request(ann, questions["own?"].id, "yes")
    await until(node, process.pid, ProcessState.BLOCKED)
    process = await node.tower.resume_request(ann, questions["ask?"].id, "yes", wait=60)
    assert (process.reply, process.usage.steps) == ("9 8", 20)


async def test_parent_that_sleeps_beside_a_child_keeps_a_share(start_node, send, ann) -> None:
    async def boss(mission: Mission) -> str:
        async def beats() -> str:
            await mission.sleep(1.01)
            await mission.step("beat", asyncio.sleep, 0)
            return (await mission.spawn("part", "two")).text

        async with mission.stage("both"):
            second, first = await mission.gather(beats(), mission.spawn("part", "ask"))
        return f"{first.text} {second}"

    node = await start_node(boss, part)
    process = await send(node)
    async with asyncio.timeout(20):
        while len(await all_of(node)) < 3 or (await all_of(node))[2].outcome is None:
            await asyncio.sleep(0.01)
    _, asks, _ = await all_of(node)
    assert asks.quota.max_steps == 499
    assert asks.pending is not None
    await node.tower.resume_request(ann, asks.pending.id, "yes")
    process = await until(node, process.pid, ProcessState.TERMINATED)
    assert (process.error, process.reply) == (None, "yes TWO")


async def test_limit_says_what_is_lent_to_children(start_node, send, ann) -> None:
    async def boss(mission: Mission) -> str:
        async def own() -> None:
            await mission.clarify("own?")
            for _ in range(3):
                await mission.step("work", asyncio.sleep, 0)

        await mission.gather(own(), mission.spawn("part", "ask"))
        return "never"

    node = await start_node(boss, part, quota=Quota(max_steps=5))
    process = await send(node)
    async with asyncio.timeout(20):
        while len(process.interrupts) < 2:
            await asyncio.sleep(0.01)
            process = await node.tower.get(ann, process.pid)
    questions = {each.question: each for each in process.interrupts}
    await node.tower.resume_request(ann, questions["own?"].id, "yes")
    await until(node, process.pid, ProcessState.BLOCKED)
    await node.tower.resume_request(ann, questions["ask?"].id, "yes")
    process = await until(node, process.pid, ProcessState.TERMINATED)
    assert process.reason == "max_steps_exceeded"
    expected = "the limit of 5 journaled steps is reached: 4 are used, 1 lent to children"
    assert expected in str(process.error)


# crashes


async def test_crash_before_the_child_is_stored_spawns_it_once(start_node, send, ann) -> None:
    reached = asyncio.Event()
    hold = True

    async def boss(mission: Mission) -> str:
        async def slow() -> None:
            reached.set()
            if hold:
                await asyncio.sleep(3600)

        reply, _ = await mission.gather(mission.spawn("part", "one"), mission.step("slow", slow))
        return reply.text

    node = await start_node(boss, part)
    process = await send(node, wait=None)
    await reached.wait()
    assert len(await all_of(node)) == 1
    await node.stop()
    hold = False
    node = await start_node(boss, part)
    assert (await node.tower.wait(ann, process.pid, 10)).reply == "ONE"
    assert len(await all_of(node)) == 2


async def test_crash_while_the_child_runs_continues_both(start_node, send, ann) -> None:
    reached = asyncio.Event()
    hold = True
    done: list[str] = []

    async def child(mission: Mission) -> str:
        await mission.step("once", done.append, "x")
        reached.set()
        if hold:
            await asyncio.sleep(3600)
        return "child"

    async def boss(mission: Mission) -> str:
        return (await mission.spawn("child", "go")).text

    node = await start_node(boss, child)
    process = await send(node, wait=None)
    await reached.wait()
    await node.stop()
    hold = False
    node = await start_node(boss, child)
    assert (await node.tower.wait(ann, process.pid, 10)).reply == "child"
    assert (done, len(await all_of(node))) == (["x"], 2)


async def test_crash_between_the_end_of_a_child_and_its_parents_run(
    start_node, send, ann, monkeypatch
) -> None:
    runs: list[str] = []

    async def boss(mission: Mission) -> str:
        runs.append("boss")
        return (await mission.spawn("part", "one")).text

    node = await start_node(boss, part)
    ended = asyncio.Event()
    monkeypatch.setattr(
        node.tower,
        "_follow",
        lambda after, follow=node.tower._follow: (
            ended.set() if after.ready and after.ready[0].depth == 0 else follow(after)
        ),
    )
    process = await send(node, wait=None)
    await asyncio.wait_for(ended.wait(), 10)
    assert (await node.tower.get(ann, process.pid)).state is ProcessState.READY
    await node.stop()
    node = await start_node(boss, part)
    assert (await node.tower.wait(ann, process.pid, 10)).reply == "ONE"
    assert (runs, len(await all_of(node))) == (["boss", "boss"], 2)


@pytest.mark.parametrize("number", [1, 2], ids=["spawned", "ended"])
async def test_family_goes_on_after_a_commit_that_nobody_could_be_sure_of(
    start_node, send, monkeypatch, number: int
) -> None:
    async def leaf(mission: Mission) -> str:
        return "leaf"

    async def boss(mission: Mission) -> str:
        return (await mission.spawn("leaf", "go")).text

    monkeypatch.setattr(execution, "RETRY_SECONDS", (0.01, 0.02))
    node = await start_node(boss, leaf)
    write, seen = node.database.write, 0

    async def brittle(unit):
        nonlocal seen
        result = await write(unit)
        if unit.__qualname__.startswith("Ledger"):
            seen += 1
            if seen == number:
                raise OSError("connection lost")
        return result

    monkeypatch.setattr(node.database, "write", brittle)
    assert (await send(node)).reply == "leaf"
    assert (seen, len(await all_of(node))) == (3, 2)


async def test_children_that_wait_are_found_again_by_the_next_server(start_node, send, ann) -> None:
    node = await start_node(calls("ask one", "ask two"), part)
    process = await send(node)
    async with asyncio.timeout(20):
        while len((await node.tower.get(ann, process.pid)).interrupts) < 2:
            await asyncio.sleep(0.01)
    await node.stop()
    node = await start_node(calls("ask one", "ask two"), part)
    process = await node.tower.get(ann, process.pid)
    assert (process.state, process.reason) == (ProcessState.BLOCKED, "child")
    for question in process.interrupts:
        process = await node.tower.resume_request(ann, question.id, question.question, wait=10)
    assert process.reply == "ask one? ask two?"


async def test_child_of_another_user_does_not_exist(start_node, send, ann) -> None:
    node = await start_node(calls("ask"), part)
    process = await send(node)
    eve = Caller("eve")
    with pytest.raises(Exception, match="not found"):
        await node.tower.get(eve, process.pending.pid)
    with pytest.raises(Exception, match="not found"):
        await node.tower.cancel_request(eve, process.pending.pid)
    with pytest.raises(Exception, match="not found"):
        await node.tower.resume_request(eve, process.pending.id, "x")
