"""The place of a process in line can be changed: in its row, in the line, and after a restart."""

from __future__ import annotations

import asyncio

import pytest

from mission_system.core.errors import Conflict, NotFound
from mission_system.core.identity import Caller
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import ProcessState, SchedulingPriority

P = SchedulingPriority


class Line:
    """One slot, held by the first message; the rest notes the order in which it ran."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.order: list[str] = []

    async def work(self, mission: Mission) -> str:
        if mission.message == "hold":
            self.begun.set()
            await self.gate.wait()
        elif mission.message == "ask":
            return await mission.clarify("which?")
        else:
            self.order.append(mission.message)
        return "done"


async def queue(node, send, line: Line, *messages: str):
    await send(node, "hold", wait=None)
    await asyncio.wait_for(line.begun.wait(), 10)
    return [await send(node, message, wait=None) for message in messages]


async def finish(node, ann, line: Line, processes) -> list[str]:
    line.gate.set()
    for process in processes:
        assert (await node.tower.wait(ann, process.pid, 10)).reply == "done"
    return line.order


async def test_process_in_line_gets_another_place_and_the_log_says_so(
    start_node, send, ann, told
) -> None:
    line = Line()
    node = await start_node(line.work, running_slots=1)
    processes = await queue(node, send, line, "a", "b", "c")
    changed = await node.tower.set_priority(ann, processes[2].pid, P.HIGH)
    assert (changed.priority, changed.state) == (P.HIGH, ProcessState.READY)
    await node.tower.set_priority(ann, processes[0].pid, P.IDLE)
    assert (await node.tower.get(ann, processes[0].pid)).priority is P.IDLE
    assert await finish(node, ann, line, processes) == ["c", "b", "a"]
    events = await told(node, processes[2])
    payloads = [e.payload for e in events if e.type == "process.priority_changed"]
    assert payloads == [{"from": "normal", "to": "high"}]
    assert (await node.tower.get(ann, processes[2].pid)).priority is P.HIGH


async def test_same_priority_again_tells_nothing(start_node, send, ann, told) -> None:
    line = Line()
    node = await start_node(line.work, running_slots=1)
    (process,) = await queue(node, send, line, "a")
    await node.tower.set_priority(ann, process.pid, P.NORMAL)
    await finish(node, ann, line, [process])
    assert "process.priority_changed" not in [e.type for e in await told(node, process)]


async def test_place_outlives_the_server(start_node, send, ann) -> None:
    line = Line()
    node = await start_node(line.work, running_slots=1)
    processes = await queue(node, send, line, "a", "b")
    await node.tower.set_priority(ann, processes[1].pid, P.REALTIME)
    await node.stop()
    line = Line()
    line.gate.set()
    node = await start_node(line.work, running_slots=1)
    assert await finish(node, ann, line, processes) == ["b", "a"]


async def test_only_a_process_in_line_has_a_place(start_node, send, ann) -> None:
    line = Line()
    node = await start_node(line.work)
    running = await send(node, "hold", wait=None)
    await asyncio.wait_for(line.begun.wait(), 10)
    asked, ended = await send(node, "ask"), await send(node, "a")
    for process in (running, asked, ended):
        with pytest.raises(Conflict, match=process.pid):
            await node.tower.set_priority(ann, process.pid, P.LOW)
        assert (await node.tower.get(ann, process.pid)).priority is P.NORMAL
    line.gate.set()


async def test_place_of_another_user_does_not_exist(start_node, send, ann) -> None:
    line = Line()
    node = await start_node(line.work, running_slots=1)
    (process,) = await queue(node, send, line, "a")
    with pytest.raises(NotFound):
        await node.tower.set_priority(Caller("eve"), process.pid, P.LOW)
    line.gate.set()


async def test_changes_at_once_leave_the_line_as_the_row_says(start_node, send, ann) -> None:
    line = Line()
    node = await start_node(line.work, running_slots=1)
    (process,) = await queue(node, send, line, "a")
    levels = [*P] * 4
    await asyncio.gather(*(node.tower.set_priority(ann, process.pid, level) for level in levels))
    row = (await node.tower.get(ann, process.pid)).priority
    assert node.tower._dispatcher._scheduler._jobs[process.pid].priority is row
    await finish(node, ann, line, [process])
