"""A quota changes while its process waits, or runs; not everybody may raise it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import Conflict, Forbidden, InvalidInput, NotFound, QuotaExceeded
from mission_system.core.identity import Caller
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import ProcessState, Quota

ROOT = Caller("root", "admin")
ANN_AS_ADMIN = Caller("ann", "admin")


@tool
async def touch() -> None:
    """Do nothing."""


class Work:
    """Calls a tool twice, is held, then goes on until it is refused."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.gate = asyncio.Event()

    async def work(self, mission: Mission) -> str:
        done = 0
        try:
            while True:
                await mission.tools.touch()
                done += 1
                if done == 2:
                    self.held.set()
                    await self.gate.wait()
        except QuotaExceeded as error:
            return f"{done} ({error.reason})"


async def held(start_node, send, work: Work, **quota: Any):
    node = await start_node(work.work, tools=[touch], quota={"max_tool_calls": 4} | quota)
    process = await send(node, wait=None)
    await asyncio.wait_for(work.held.wait(), 10)
    return node, process


@pytest.mark.parametrize(("limit", "done"), [(3, 3), (6, 6)])
async def test_running_process_goes_on_under_its_new_quota(
    start_node, send, ann, told, limit: int, done: int
) -> None:
    work = Work()
    node, process = await held(start_node, send, work)
    adjusted = await node.tower.adjust_quota(ANN_AS_ADMIN, process.pid, max_tool_calls=limit)
    assert adjusted.quota.max_tool_calls == limit
    work.gate.set()
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.reply == f"{done} (max_tool_calls_exceeded)"
    assert process.quota.max_tool_calls == limit
    events = [e.payload for e in await told(node, process) if e.type == "resource.adjusted"]
    assert events == [{"quota": {"max_tool_calls": {"from": 4, "to": limit}}}]


async def test_row_is_the_truth_whoever_has_changed_it(start_node, send, ann) -> None:
    work = Work()
    node, process = await held(start_node, send, work)
    quota = process.quota.model_copy(update={"max_tool_calls": 7}).model_dump_json()
    sql = "UPDATE process SET quota = ? WHERE pid = ?"
    await node.database.write(lambda tx: tx.execute(sql, (quota, process.pid)))
    work.gate.set()
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.reply == "7 (max_tool_calls_exceeded)"


async def test_running_time_is_cut_short(start_node, send, ann) -> None:
    node, process = await held(start_node, send, Work())
    await node.tower.adjust_quota(ann, process.pid, timeout_seconds=0.01)
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.reason == "timeout_exceeded"


@pytest.mark.sqlite  # a clock that leaps ends every wait for a server's answer, too
async def test_running_time_is_extended(start_node, send, ann, leap) -> None:
    node, process = await held(start_node, send, Work())
    await node.tower.adjust_quota(ANN_AS_ADMIN, process.pid, timeout_seconds=2000)
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(1000, passed.set)  # later than the first limit, 300
    leap(1200)
    await passed.wait()
    assert (await node.tower.get(ann, process.pid)).state is ProcessState.RUNNING
    leap(1200)
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.reason == "timeout_exceeded"
    assert process.usage.elapsed_seconds >= 2000


async def test_waiting_process_finds_its_new_quota(start_node, send, ann) -> None:
    async def asks(mission: Mission) -> str:
        await mission.clarify("go on?")
        await mission.tools.touch()
        return "touched"

    node = await start_node(asks, tools=[touch])
    process = await send(node)
    await node.tower.adjust_quota(ann, process.pid, max_tool_calls=0)
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.reason == "max_tool_calls_exceeded"


async def test_what_was_refused_stays_refused_when_more_is_allowed_later(
    start_node, send, ann
) -> None:
    async def tries(mission: Mission) -> str:
        done = []
        for _ in range(3):
            try:
                await mission.tools.touch()
                done.append("yes")
            except QuotaExceeded:
                done.append("no")
        await mission.clarify("go on?")
        return " ".join(done)

    node = await start_node(tries, tools=[touch], quota={"max_tool_calls": 1})
    process = await send(node)
    await node.tower.adjust_quota(ANN_AS_ADMIN, process.pid, max_tool_calls=5)
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert (process.reply, process.reason) == ("yes no no", None)


@tool(risk="write")
async def write() -> None:
    """Ask first."""


@tool
async def denied() -> None:
    """Be refused by policy."""


async def stage(mission: Mission) -> None:
    async with mission.stage("s"):
        pass


async def rounds(mission: Mission) -> None:
    async for _ in mission.rounds():
        return


async def child(mission: Mission) -> str:
    return "child"


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        (stage, "max_agent_hops_exceeded"),
        (rounds, "max_iterations_exceeded"),
        (lambda mission: mission.clarify("more?"), "max_steps_exceeded"),
        (lambda mission: mission.sleep(2), "max_steps_exceeded"),
        (lambda mission: mission.spawn("child", "hi"), "max_steps_exceeded"),
        (lambda mission: mission.spawn("nobody", "hi"), "max_steps_exceeded"),
        (lambda mission: mission.tools.write(), "max_steps_exceeded"),
        (lambda mission: mission.tools.denied(), "max_steps_exceeded"),
    ],
)
async def test_whatever_was_refused_stays_refused_and_takes_nothing(
    start_node, send, ann, use: Any, reason: str
) -> None:
    held, gate = asyncio.Event(), asyncio.Event()

    async def tries(mission: Mission) -> str:
        await mission.now()
        try:
            await use(mission)
            done = "allowed"
        except QuotaExceeded as error:
            done = error.reason
        held.set()
        await gate.wait()
        await mission.clarify("go on?")
        async with mission.stage("after"):
            async for number in mission.rounds():
                return f"{done}, {number}"
        return "never"

    quota = Quota(max_steps=1, max_agent_hops=0, max_iterations=0)
    spec = OrchestratorSpec("tries", tries, quota=quota, tool_policy={"denied": "deny"})
    node = await start_node(spec, child, tools=[write, denied])
    process = await send(node, wait=None, capability="tries")
    await asyncio.wait_for(held.wait(), 10)
    more = {"max_steps": 9, "max_agent_hops": 1, "max_iterations": 1}
    await node.tower.adjust_quota(ANN_AS_ADMIN, process.pid, **more)
    gate.set()
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.pending is not None, process.error
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert (process.reply, process.error) == (f"{reason}, 1", None)
    usage = process.usage
    assert (usage.steps, usage.agent_hops, usage.iterations) == (2, 1, 1)
    steps = await node.tower.steps(ann, process.pid)
    (refused,) = [step for step in steps if step.status == "failed"]
    assert "is reached" in str(refused.error)
    fork = await node.tower.fork_process(ann, process.pid, steps=len(steps))
    assert (await node.tower.wait(ann, fork.pid, 10)).reply == process.reply


async def test_depth_that_was_refused_stays_refused_with_another_setting(
    start_node, send, ann
) -> None:
    async def tries(mission: Mission) -> str:
        try:
            await mission.spawn("child", "hi")
        except QuotaExceeded as error:
            return f"{error.reason}, {await mission.clarify('go on?')}"
        return "allowed"

    node = await start_node(tries, child, max_depth=0)
    process = await send(node)
    await node.stop()
    node = await start_node(tries, child)
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.reply == "max_depth_exceeded, yes"


async def test_owner_may_lower_and_only_an_administrator_may_raise(start_node, send, ann) -> None:
    work = Work()
    node, process = await held(start_node, send, work)
    adjust = node.tower.adjust_quota
    with pytest.raises(Forbidden, match="max_llm_calls"):
        await adjust(ann, process.pid, max_tool_calls=3, max_llm_calls=11)
    with pytest.raises(Forbidden, match="on_exhausted"):
        await adjust(ann, process.pid, on_exhausted="ask")
    assert (await node.tower.get(ann, process.pid)).quota == Quota(max_tool_calls=4)
    await adjust(ann, process.pid, max_tool_calls=3)
    await adjust(ROOT, process.pid, max_tool_calls=5)
    with pytest.raises(NotFound):
        await adjust(Caller("eve"), process.pid, max_tool_calls=1)
    assert (await node.tower.get(ann, process.pid)).quota == Quota(max_tool_calls=5)
    work.gate.set()


async def test_request_id_does_not_pass_for_the_process_of_another(start_node, send, ann) -> None:
    work = Work()
    node, process = await held(start_node, send, work)
    eves = await send(node, caller=Caller("eve"), request_id=process.pid, wait=None)
    await node.tower.adjust_quota(ROOT, process.pid, max_tool_calls=9)
    assert (await node.tower.get(ann, process.pid)).quota.max_tool_calls == 9
    assert (await node.tower.get(Caller("eve"), eves.pid)).quota.max_tool_calls != 9
    work.gate.set()


async def test_administrator_names_the_process_of_another_by_its_pid_alone(
    start_node, send, ann
) -> None:
    async def asks(mission: Mission) -> str:
        return await mission.clarify("go on?")

    node = await start_node(asks)
    process = await send(node, request_id="chosen by ann")
    for name in (process.request_id, process.pending.id):
        with pytest.raises(NotFound):
            await node.tower.adjust_quota(ROOT, name, max_tool_calls=9)
    await node.tower.adjust_quota(ANN_AS_ADMIN, process.request_id, max_tool_calls=9)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tool_calls", -1),
        ("max_steps", "many"),
        ("timeout_seconds", 0),
        ("timeout_seconds", math.inf),  # JSON has none: no server could read the row again
        ("soft_timeout_seconds", math.nan),
        ("max_fun", 1),
    ],
)
async def test_limit_that_cannot_be_is_refused_by_name(
    start_node, send, ann, field: str, value: Any
) -> None:
    work = Work()
    node, process = await held(start_node, send, work)
    with pytest.raises(InvalidInput) as refused:
        await node.tower.adjust_quota(ann, process.pid, **{field: value})
    assert refused.value.field == field
    work.gate.set()


async def test_ended_process_has_no_quota_to_adjust(start_node, send, ann) -> None:
    work = Work()
    work.gate.set()
    node = await start_node(work.work, tools=[touch])
    process = await send(node)
    with pytest.raises(Conflict, match="ended"):
        await node.tower.adjust_quota(ann, process.pid, max_tool_calls=1)
