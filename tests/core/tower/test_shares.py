"""What children may use: a part of what their parent may, also when that is lowered meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import QuotaExceeded
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Outcome, ProcessControlBlock, Quota

ROOT = Caller("ann", "admin")


@tool
async def touch() -> None:
    """Do nothing."""


class Worker:
    """Calls a tool as often as its message says, is held, then goes on until it is refused."""

    def __init__(self) -> None:
        self.held: dict[str, asyncio.Event] = {}
        self.gate = asyncio.Event()
        self.quotas: dict[str, Quota] = {}

    async def worker(self, mission: Mission) -> str:
        done, first = 0, int(mission.message)
        held = self.held.setdefault(mission.message, asyncio.Event())
        try:
            while True:
                if done == first:
                    held.set()
                    await self.gate.wait()
                await mission.tools.touch()
                done += 1
        except QuotaExceeded as error:
            return f"{done} ({error.reason})"

    async def until_held(self, *messages: str) -> None:
        for message in messages:
            held = self.held.setdefault(message, asyncio.Event())
            await asyncio.wait_for(held.wait(), 10)


async def boss(mission: Mission) -> str:
    """Spawns what its message lists; what has more than one part, by way of another boss."""
    names = mission.message.split(";")
    replies = await mission.gather(
        *(
            mission.spawn("boss" if "," in each else "worker", each.replace(",", ";"))
            for each in names
        )
    )
    return " ".join(reply.text for reply in replies)


async def all_of(node: Node) -> dict[str, ProcessControlBlock]:
    """Ann's processes, by what they were sent."""
    return {each.message: each for each in (await node.tower.list_processes(ROOT)).items}


async def started(start_node: Any, send: Any, worker: Worker, message: str, **quota: Any) -> Any:
    node = await start_node(
        OrchestratorSpec("boss", boss, quota=Quota(**quota)),
        OrchestratorSpec("worker", worker.worker, quota=Quota()),
        tools=[touch],
    )
    process = await send(node, message, wait=None)
    await worker.until_held(*message.replace(",", ";").split(";"))
    return node, process


async def test_lower_limit_of_a_process_reaches_what_it_has_spawned(
    start_node, send, ann, told
) -> None:
    worker = Worker()
    node, process = await started(start_node, send, worker, "2", max_tool_calls=40)
    await node.tower.adjust_quota(ann, process.pid, max_tool_calls=3)
    worker.gate.set()
    process = await node.tower.wait(ann, process.pid, 10)
    assert (process.reply, process.usage.tool_calls) == ("3 (max_tool_calls_exceeded)", 3)
    events = {e.pid: e.payload for e in await told(node, process) if e.type == "resource.adjusted"}
    lowered = {"quota": {"max_tool_calls": {"from": 40, "to": 3}}}
    child = (await all_of(node))["2"]
    assert events == {process.pid: lowered, child.pid: lowered}


async def test_limit_below_what_was_used_stops_everything_below_at_its_next_call(
    start_node, send, ann
) -> None:
    worker = Worker()
    node, process = await started(start_node, send, worker, "2,3;1", max_tool_calls=40)
    await node.tower.adjust_quota(ann, process.pid, max_tool_calls=1)
    worker.gate.set()
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.reply == " ".join(f"{done} (max_tool_calls_exceeded)" for done in (2, 3, 1))


async def test_processes_below_share_what_a_lower_limit_leaves(start_node, send, ann) -> None:
    worker = Worker()
    node, process = await started(start_node, send, worker, "2,3;1", max_tool_calls=40)
    await node.tower.adjust_quota(ann, process.pid, max_tool_calls=16)  # 6 are used, 10 are left
    limits = {name: each.quota.max_tool_calls for name, each in (await all_of(node)).items()}
    assert limits == {"2,3;1": 16, "2;3": 10, "2": 4, "3": 5, "1": 6}
    worker.gate.set()
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.usage.tool_calls == 15


async def test_limits_below_stay_where_they_fit_and_are_never_raised(start_node, send, ann) -> None:
    worker = Worker()
    node, process = await started(start_node, send, worker, "1;2", max_tool_calls=150)
    before = await all_of(node)
    assert before["1"].quota.max_tool_calls == Quota().max_tool_calls == 50
    await node.tower.adjust_quota(ann, process.pid, max_tool_calls=100)
    await node.tower.adjust_quota(ROOT, process.pid, max_tool_calls=1000, max_llm_calls=100)
    after = await all_of(node)
    assert [after[name].quota for name in "12"] == [before[name].quota for name in "12"]
    worker.gate.set()


async def test_running_time_below_is_cut_short(start_node, send, ann) -> None:
    worker = Worker()
    node, process = await started(start_node, send, worker, "1")
    await node.tower.adjust_quota(ann, process.pid, timeout_seconds=0.01)
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.outcome is Outcome.FAILED
    assert (await all_of(node))["1"].reason == "timeout_exceeded"


async def test_limits_of_one_call_and_the_end_at_a_limit_reach_what_is_below(
    start_node, send, ann
) -> None:
    worker = Worker()
    node = await start_node(
        OrchestratorSpec("boss", boss, quota=Quota(on_exhausted="ask", max_output_tokens=500)),
        OrchestratorSpec("worker", worker.worker, quota=Quota(on_exhausted="ask")),
        tools=[touch],
    )
    process = await send(node, "1", wait=None)
    await worker.until_held("1")
    assert (await all_of(node))["1"].quota.on_exhausted == "ask"
    changes: dict[str, Any] = {
        "on_exhausted": "end",
        "max_input_tokens": 70,
        "max_output_tokens": 400,
    }
    await node.tower.adjust_quota(ann, process.pid, **changes)
    quota = (await all_of(node))["1"].quota.model_dump()
    assert {name: quota[name] for name in changes} == changes
    worker.gate.set()


@pytest.mark.parametrize("limit", [15, 11])
async def test_parent_that_runs_beside_a_child_keeps_its_part_of_a_lower_limit(
    start_node, send, ann, limit: int
) -> None:
    worker, gate, running = Worker(), asyncio.Event(), asyncio.Event()

    async def both(mission: Mission) -> str:
        async def own() -> int:
            await mission.clarify("own?")
            running.set()
            await gate.wait()
            done = 0
            while True:
                try:
                    await mission.tools.touch()
                except QuotaExceeded:
                    return done
                done += 1

        own_calls, child = await mission.gather(own(), mission.spawn("worker", "1"))
        return f"{own_calls} {child.text}"

    node = await start_node(
        OrchestratorSpec("both", both, quota=Quota(max_tool_calls=40)),
        OrchestratorSpec("worker", worker.worker, quota=Quota()),
        tools=[touch],
    )
    process = await send(node)
    await worker.until_held("1")
    assert (await all_of(node))["1"].quota.max_tool_calls == 20
    await node.tower.resume_request(ann, process.pending.id, "yes")
    await asyncio.wait_for(running.wait(), 10)
    await node.tower.adjust_quota(ann, process.pid, max_tool_calls=limit)
    share = 1 + (limit - 1) // 2
    assert (await all_of(node))["1"].quota.max_tool_calls == share
    gate.set()
    worker.gate.set()
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.reply == f"{limit - share} {share} (max_tool_calls_exceeded)"


async def test_parent_that_sleeps_beside_a_child_keeps_its_part_of_a_lower_limit(
    start_node, send, ann
) -> None:
    worker = Worker()

    async def both(mission: Mission) -> str:
        await mission.gather(mission.sleep(3600), mission.spawn("worker", "1"))
        return "never"

    node = await start_node(
        OrchestratorSpec("both", both, quota=Quota(max_tool_calls=40)),
        OrchestratorSpec("worker", worker.worker, quota=Quota()),
        tools=[touch],
    )
    process = await send(node, wait=None)
    await worker.until_held("1")
    assert (await node.tower.get(ann, process.pid)).awaits_child
    assert (await all_of(node))["1"].quota.max_tool_calls == 20
    await node.tower.adjust_quota(ann, process.pid, max_tool_calls=15)
    assert (await all_of(node))["1"].quota.max_tool_calls == 1 + (15 - 1) // 2
    await node.tower.cancel_request(ann, process.pid)


async def test_child_spawned_after_its_parent_was_adjusted_gets_a_part_of_what_that_left(
    start_node, send, ann
) -> None:
    worker, gate, running = Worker(), asyncio.Event(), asyncio.Event()
    worker.gate.set()

    async def late(mission: Mission) -> str:
        running.set()
        await gate.wait()
        return (await mission.spawn("worker", "0")).text

    node = await start_node(late, worker.worker, tools=[touch])
    process = await send(node, wait=None)
    await asyncio.wait_for(running.wait(), 10)
    await node.tower.adjust_quota(ann, process.pid, max_tool_calls=2)
    gate.set()
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.reply == "2 (max_tool_calls_exceeded)"


async def test_child_takes_no_more_for_one_call_than_its_parent_and_asks_only_where_that_does(
    start_node, send
) -> None:
    async def calls(mission: Mission) -> str:
        for _ in range(3):
            await mission.llm().complete("hello")
        return "done"

    async def parent(mission: Mission) -> str:
        return (await mission.spawn("calls", "go")).text

    limits: dict[str, Any] = {
        "max_input_tokens": 100,
        "max_output_tokens": 90,
        "max_context_tokens": 300,
    }
    node = await start_node(
        OrchestratorSpec("parent", parent, quota=Quota(max_llm_calls=2, **limits)),
        OrchestratorSpec("calls", calls, quota=Quota(max_llm_calls=10, on_exhausted="ask")),
    )
    process = await send(node)
    child = (await all_of(node))["go"]
    assert (process.interrupts, child.reason) == ((), "max_llm_calls_exceeded")
    assert process.usage.llm_calls == 2
    quota = child.quota.model_dump()
    assert {name: quota[name] for name in limits} == limits
