"""Breakers of a node: what fails is refused, told, remembered, and governed by administrators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from mission_system.core.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    ToolFailed,
    Unavailable,
)
from mission_system.core.events.event import Event
from mission_system.core.identity import LOCAL, Caller
from mission_system.core.node import Node
from mission_system.core.storage.persistence import Unit
from mission_system.core.tools import governor as subject
from mission_system.core.tools.breaker import FAILURES, BreakerState
from mission_system.core.tools.decorator import tool
from mission_system.core.tools.spec import ToolStatus
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope, ProcessControlBlock, ProcessState

ANN = Caller("ann")
broken = True
calls = 0


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global broken, calls
    broken, calls = True, 0


@tool
def flaky() -> str:
    """Fail while it is broken."""
    global calls
    calls += 1
    if broken:
        raise RuntimeError("no connection")
    return "fine"


@tool(risk="write")
def save(text: str) -> str:
    """Save a text."""
    raise RuntimeError("disk full")


TOOLS = [flaky, save]


async def tries(mission: Mission) -> str:
    """Calls a tool as often as its message says, and tells what came of it."""
    said: list[str] = []
    for _ in range(int(mission.message)):
        try:
            said.append(await mission.tools.flaky())
        except ToolFailed as error:
            said.append(f"{error.status}: {error.text}")
    return " | ".join(said)


async def offers(mission: Mission) -> str:
    before = [spec.name for spec in await mission.tools.offered()]
    await mission.clarify("go on?")
    again = [spec.name for spec in await mission.tools.offered()]
    return f"{before} {again}"


async def saves(mission: Mission) -> str:
    try:
        return str(await mission.tools.save(text="x"))
    except ToolFailed as error:
        return error.status


async def send(node: Node, message: str, capability: str = "tries") -> ProcessControlBlock:
    envelope = Envelope(caller=ANN, message=message, capability=capability)
    process = (await node.tower.submit_request(envelope, wait=30)).process
    assert process is not None
    return process


async def changes(node: Node, count: int) -> list[dict[str, Any]]:
    """The first events of the system's stream."""
    found: list[Event] = []
    async with asyncio.timeout(30), aclosing(node.system.follow(LOCAL, after=0)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    assert {event.type for event in found} == {"breaker.changed"}
    return [event.payload for event in found]


def state(node: Node, name: str = "flaky") -> BreakerState:
    return node.governor.breakers.get(name).state


async def test_a_tool_that_keeps_failing_is_not_called_any_more(start_node: Any) -> None:
    node = await start_node(tries, tools=TOOLS)
    reply = (await send(node, "7")).reply or ""
    said = reply.split(" | ")
    assert said[:5] == ["error: RuntimeError: no connection"] * 5
    assert all(each.startswith("unavailable: its circuit breaker is open") for each in said[5:])
    assert calls == 5
    [change] = await changes(node, 1)
    assert (change["tool"], change["from"], change["to"]) == ("flaky", "closed", "open")
    health = await node.tool_health.tool("flaky")
    assert (health.total_calls, health.recent_errors) == (5, 5)  # what is refused is no call


async def test_an_open_breaker_survives_a_restart_and_closes_by_trials(start_node: Any) -> None:
    global broken
    node = await start_node(tries, tools=TOOLS, breaker_cooldown_seconds=3600)
    await send(node, "5")
    await node.stop()
    node = await start_node(tries, tools=TOOLS, breaker_cooldown_seconds=0.001)
    await changes(node, 2)  # half-open by itself, though nobody called
    broken = False
    assert (await send(node, "3")).reply == "fine | fine | fine"
    told = await changes(node, 3)
    assert [each["to"] for each in told] == ["open", "half_open", "closed"]
    await node.stop()
    node = await start_node(tries, tools=TOOLS)
    assert state(node) is BreakerState.CLOSED


async def test_failures_before_a_crash_count_after_it(start_node: Any) -> None:
    node = await start_node(tries, tools=TOOLS)
    await send(node, "3")
    assert await node.roll_up.run() == 3
    await send(node, "1")
    await node.stop()
    node = await start_node(tries, tools=TOOLS)
    assert state(node) is BreakerState.CLOSED
    assert "error" in str((await send(node, "1")).reply)
    assert state(node) is BreakerState.OPEN


async def test_failures_before_a_reset_do_not_count_after_a_restart(start_node: Any) -> None:
    node = await start_node(tries, tools=TOOLS)
    await send(node, "5")
    await changes(node, 1)
    await node.governor.reset(LOCAL, "flaky")
    await node.stop()
    node = await start_node(tries, tools=TOOLS)
    assert state(node) is BreakerState.CLOSED
    await send(node, "1")
    assert state(node) is BreakerState.CLOSED


async def test_quarantine_and_release_are_told_and_survive_a_restart(start_node: Any) -> None:
    global broken
    broken = False
    node = await start_node(tries, tools=TOOLS, breaker_policy="off")
    breaker = await node.governor.quarantine(LOCAL, "flaky", "it leaks <b>")
    assert (breaker.state, breaker.by) == (BreakerState.QUARANTINED, "local")
    assert str((await send(node, "1")).reply).startswith("unavailable: it is quarantined")
    await node.stop()
    node = await start_node(tries, tools=TOOLS, breaker_policy="off")
    assert str((await send(node, "1")).reply).startswith("unavailable")
    assert calls == 0
    await node.governor.release(LOCAL, "flaky")
    assert (await send(node, "1")).reply == "fine"
    first, second = await changes(node, 2)
    assert first == {
        "tool": "flaky",
        "from": "closed",
        "to": "quarantined",
        "reason": "it leaks <b>",
        "by": "local",
    }
    assert (second["from"], second["to"]) == ("quarantined", "closed")


async def test_only_administrators_govern_and_only_what_there_is(start_node: Any) -> None:
    node = await start_node(tries, tools=TOOLS)
    governor = node.governor
    for order in (
        governor.reset(ANN, "flaky"),
        governor.quarantine(ANN, "flaky", "no"),
        governor.release(ANN, "flaky"),
        anext(node.system.follow(ANN)),
        node.system.last_seq(ANN),
    ):
        with pytest.raises(Forbidden):
            await order
    with pytest.raises(NotFound):
        await governor.quarantine(LOCAL, "nothing", "no")
    with pytest.raises(InvalidInput):
        await governor.quarantine(LOCAL, "flaky", "")
    for order in (governor.reset(LOCAL, "flaky"), governor.release(LOCAL, "flaky")):
        with pytest.raises(Conflict):
            await order
    await governor.quarantine(LOCAL, "flaky", "no")
    with pytest.raises(Conflict, match="release it"):
        await governor.reset(LOCAL, "flaky")
    with pytest.raises(Conflict):
        await governor.quarantine(LOCAL, "flaky", "no")


async def test_open_tools_are_not_offered_and_a_replay_offers_the_same(start_node: Any) -> None:
    node = await start_node(offers, tools=TOOLS)
    process = await send(node, "hi", "offers")
    assert process.state is ProcessState.WAITING
    await node.governor.quarantine(LOCAL, "flaky", "no")
    assert process.pending is not None
    done = await node.tower.resume_request(ANN, process.pending.id, "yes", wait=30)
    assert done.reply == "['flaky', 'save'] ['save']"


async def test_what_the_policy_denies_is_not_offered(start_node: Any) -> None:
    rule = {"tool": "save", "decision": "deny"}
    node = await start_node(offers, tools=TOOLS, tool_policy=[rule])
    process = await send(node, "hi", "offers")
    assert process.pending is not None
    done = await node.tower.resume_request(ANN, process.pending.id, "yes", wait=30)
    assert done.reply == "['flaky'] ['flaky']"


async def test_nobody_is_asked_about_a_tool_that_is_shut_off(start_node: Any) -> None:
    node = await start_node(saves, tools=TOOLS)
    await node.governor.quarantine(LOCAL, "save", "no")
    process = await send(node, "hi", "saves")
    assert (process.interrupts, process.reply) == ((), "unavailable")


async def test_policies_are_set_for_all_tools_and_for_single_ones(start_node: Any) -> None:
    node = await start_node(
        tries, tools=TOOLS, breaker_policy="off", breaker_policies={"flaky": "log_only"}
    )
    assert "unavailable" not in str((await send(node, "7")).reply)
    assert state(node) is BreakerState.OPEN
    assert (await changes(node, 1))[0]["to"] == "open"


def fail(node: Node, name: str = "flaky") -> None:
    """As often as opens its breaker."""
    for _ in range(FAILURES):
        entered = node.governor.breakers.enter(name)
        node.governor.breakers.leave(name, entered, ToolStatus.ERROR)


class Disturbed:
    """A node's database, where something happens at the governor's next write."""

    def __init__(self, node: Node, happens: Callable[[], None], *, answers: bool = True) -> None:
        self._node, self._happens, self._answers = node, happens, answers
        node.governor._persistence = self  # type: ignore[assignment]

    async def write(self, unit: Unit[Any]) -> Any:
        self._node.governor._persistence = self._node.database
        self._happens()
        result = await self._node.database.write(unit)
        if not self._answers:
            raise Unavailable("the database went away at the commit")
        return result


async def test_failures_while_an_order_is_stored_do_not_undo_it(start_node: Any) -> None:
    node = await start_node(tries, tools=TOOLS)
    Disturbed(node, lambda: (fail(node), fail(node, "save"))[0])
    await node.governor.quarantine(LOCAL, "flaky", "it leaks")
    told = await changes(node, 2)
    assert [(each["tool"], each["from"], each["to"]) for each in told] == [
        ("flaky", "closed", "quarantined"),
        ("save", "closed", "open"),
    ]
    await node.stop()
    node = await start_node(tries, tools=TOOLS)
    assert (state(node), state(node, "save")) == (BreakerState.QUARANTINED, BreakerState.OPEN)
    await node.governor.release(LOCAL, "flaky")
    assert (await changes(node, 3))[2]["from"] == "quarantined"


async def test_an_order_whose_giver_goes_away_is_stored_and_in_force(start_node: Any) -> None:
    node = await start_node(tries, tools=TOOLS)
    order = asyncio.create_task(node.governor.quarantine(LOCAL, "flaky", "it leaks"))
    Disturbed(node, lambda: (order.cancel(), fail(node))[1])
    with pytest.raises(asyncio.CancelledError):
        await order
    assert [each["to"] for each in await changes(node, 1)] == ["quarantined"]
    assert state(node) is BreakerState.QUARANTINED
    assert str((await send(node, "1")).reply).startswith("unavailable: it is quarantined")
    await node.stop()
    assert state(await start_node(tries, tools=TOOLS)) is BreakerState.QUARANTINED


async def test_a_server_that_stops_carries_out_what_was_ordered(start_node: Any) -> None:
    node = await start_node(tries, tools=TOOLS)
    order = asyncio.create_task(node.governor.quarantine(LOCAL, "flaky", "it leaks"))
    await asyncio.sleep(0)
    await node.stop()
    assert (await order).state is BreakerState.QUARANTINED
    assert state(await start_node(tries, tools=TOOLS)) is BreakerState.QUARANTINED


async def test_changes_whose_commit_was_in_doubt_are_told_once(
    start_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "AGAIN_SECONDS", 0)
    node = await start_node(tries, tools=TOOLS)
    Disturbed(node, lambda: fail(node, "save"), answers=False)
    fail(node)
    told = await changes(node, 2)
    await node.governor.quarantine(LOCAL, "flaky", "it leaks")
    told = await changes(node, 3)
    assert [(each["tool"], each["to"]) for each in told] == [
        ("flaky", "open"),
        ("save", "open"),
        ("flaky", "quarantined"),
    ]


async def test_each_change_is_told_with_its_own_time(start_node: Any) -> None:
    node = await start_node(tries, tools=TOOLS)
    fail(node)
    fail(node, "save")
    await changes(node, 2)
    stored = await node.database.fetch_all(
        "SELECT b.changed_at, e.created_at FROM breaker b JOIN event e"
        " ON e.type = 'breaker.changed' AND e.seq = CASE b.tool WHEN 'flaky' THEN 1 ELSE 2 END"
        " ORDER BY e.seq"
    )
    times = [tuple(row) for row in stored]
    assert all(changed == told for changed, told in times)
    assert times[0] != times[1]
