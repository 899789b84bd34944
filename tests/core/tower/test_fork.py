"""Forks: the first steps are shared, the rest is done anew, and the original is left alone."""

from __future__ import annotations

import pytest

from mission_system.core.errors import Conflict, InvalidInput, NotFound
from mission_system.core.identity import Caller
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import ProcessState


async def test_fork_shares_the_first_steps_and_goes_on_with_another_message(
    start_node, send, ann, told
) -> None:
    called: list[str] = []

    def effect(name: str) -> str:
        called.append(name)
        return name * 70_000 if name == "a" else name

    async def work(mission: Mission) -> str:
        said = [each.content for each in await mission.history()]
        done = [await mission.step(n, effect, n) for n in ("a", "b", "c")]
        return f"{mission.message} {said} {[len(each) for each in done]}"

    node = await start_node(work)
    session = (await node.chat.create_session(ann)).session_id
    await send(node, "first", session_id=session)
    process = await send(node, "second", session_id=session)
    called.clear()
    fork = await node.tower.fork_process(ann, process.pid, steps=3, message="another")
    fork = await node.tower.wait(ann, fork.pid, 10)
    assert fork.reply == (process.reply or "").replace("second", "another", 1)
    assert called == ["c"]
    assert fork.session_id != session
    messages = (await node.chat.list_messages(ann, fork.session_id)).items
    assert messages[0].content == "first"
    assert sorted(m.role for m in messages) == ["assistant"] * 2 + ["user"] * 2
    assert await node.tower.get(ann, process.pid) == process
    events = await told(node, fork)
    created = next(e.payload for e in events if e.type == "process.created")
    assert (created["forked_from"], created["steps"]) == (process.pid, 3)


async def test_waiting_process_may_be_forked_at_its_question(start_node, send, ann) -> None:
    async def work(mission: Mission) -> str:
        return f"{await mission.step('a', str, 'a')} {await mission.clarify('?')}"

    node = await start_node(work)
    process = await send(node)
    fork = await node.tower.fork_process(ann, process.pid, steps=1)
    fork = await node.tower.wait(ann, fork.pid, 10)
    assert (fork.state, fork.pending.question) == (ProcessState.WAITING, "?")
    answered = await node.tower.resume_request(ann, fork.pending.id, "x", wait=10)
    assert answered.reply == "a x"
    assert (await node.tower.get(ann, process.pid)).state is ProcessState.WAITING


async def test_permission_for_a_call_is_not_one_for_the_call_of_a_fork(
    start_node, send, ann
) -> None:
    erased: list[str] = []

    @tool(risk="destructive")
    async def erase(what: str) -> None:
        """Erase it."""
        erased.append(what)

    async def work(mission: Mission) -> str:
        await mission.tools.erase(what=mission.message)
        return "erased"

    node = await start_node(work, tools=[erase])
    process = await send(node, "one file")
    await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    both = await node.tower.fork_process(ann, process.pid, steps=2, message="everything")
    assert (await node.tower.wait(ann, both.pid, 10)).reply == "erased"
    for message in ("everything", "one file"):
        fork = await node.tower.fork_process(ann, process.pid, steps=1, message=message)
        fork = await node.tower.wait(ann, fork.pid, 10)
        assert f"what: {message}" in fork.pending.question
    assert erased == ["one file"]


@pytest.mark.parametrize("steps", range(4))
async def test_fork_starts_with_the_working_memory_that_its_steps_left(
    start_node, send, ann, steps: int
) -> None:
    before = {"gone": 1, "kept": 2, "k": "zero"}

    async def work(mission: Mission) -> str:
        state = mission.state
        if mission.message == "before":
            await state.update(before)
        elif mission.message == "after":
            await state.set("kept", 3)
        else:
            if mission.message != "look 0":
                await state.set("k", "first")
            if mission.message not in ("look 0", "look 1"):
                await state.update({"k": "x" * 65_000, "new": [1] * 5000})
            if mission.message not in ("look 0", "look 1", "look 2"):
                await state.delete("gone")
        return str(await state.all())

    large = {"k": "x" * 65_000, "new": [1] * 5000}
    left = [
        before,
        before | {"k": "first"},
        before | large,
        {"kept": 2} | large,
    ]
    node = await start_node(work)
    session = (await send(node, "before")).session_id
    origin = await send(node, "hi", session_id=session)
    await send(node, "after", session_id=session)
    fork = await node.tower.fork_process(ann, origin.pid, steps=steps, message=f"look {steps}")
    fork = await node.tower.wait(ann, fork.pid, 10)
    held = await node.working_memory.entries(ann, fork.session_id)
    assert {each.key: each.value for each in held} == left[steps]
    assert fork.reply == str({key: left[steps][key] for key in sorted(left[steps])}), fork.error


async def test_fork_that_cannot_be_is_refused_and_leaves_nothing(start_node, send, ann) -> None:
    async def child(mission: Mission) -> str:
        return "child"

    async def work(mission: Mission) -> str:
        return (await mission.spawn("child", "hi")).text

    node = await start_node(work, child)
    process = await send(node)
    for wrong in ({"steps": 2}, {"steps": -1}, {"steps": 0, "message": ""}):
        with pytest.raises(InvalidInput):
            await node.tower.fork_process(ann, process.pid, **wrong)
    with pytest.raises(NotFound):
        await node.tower.fork_process(Caller("bob"), process.pid, steps=0)
    [below] = (await node.tower.get_children(ann, [process.pid]))[process.pid]
    with pytest.raises(Conflict):
        await node.tower.fork_process(ann, below.pid, steps=0)
    assert len((await node.chat.list_sessions(ann)).items) == 1
    assert node.tower.depth == (0, 0)


async def test_fork_survives_a_restart_before_it_ran(start_node, send, ann) -> None:
    async def work(mission: Mission) -> str:
        return await mission.step("a", str, "a")

    node = await start_node(work)
    process = await send(node)
    node.tower._dispatcher.open = False
    fork = await node.tower.fork_process(ann, process.pid, steps=1)
    await node.stop()
    node = await start_node(work)
    assert (await node.tower.wait(ann, fork.pid, 10)).reply == "a"
