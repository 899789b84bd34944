"""Usage adds up: of a session, a user, everybody; and a user's day has a budget."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mission_system.core.errors import Busy, Forbidden, NotFound
from mission_system.core.identity import Caller
from mission_system.core.tower import runner
from mission_system.core.tower.ledger import Ledger
from mission_system.core.tower.mission import Mission

BOB = Caller("bob")
ROOT = Caller("root", "admin")


async def talk(mission: Mission) -> str:
    reply = await mission.llm().complete(mission.message)
    if mission.message == "ask":
        await mission.clarify("go on?")
    if mission.message == "hang":
        await mission.step("hang", asyncio.Event().wait)
    return reply.text


async def recount(node) -> tuple[int, ...]:
    row = await node.database.fetch_one(
        "SELECT COUNT(*), SUM(llm_calls), SUM(tool_calls), SUM(tokens_in), SUM(tokens_out),"
        " SUM(elapsed) FROM process"
    )
    return tuple(row)


async def added_up(node) -> tuple[int, ...]:
    total = await node.tower.system_usage(ROOT)
    return (
        total.processes,
        total.llm_calls,
        total.tool_calls,
        total.tokens_in,
        total.tokens_out,
        round(total.elapsed_seconds * 1e6),
    )


async def test_usage_of_session_user_and_system(start_node, send, ann) -> None:
    node = await start_node(talk)
    first = await send(node, "one")
    second = await send(node, "two", session_id=first.session_id)
    third = await send(node, "three")
    foreign = await send(node, "four", caller=BOB)
    session = await node.tower.usage(ann, first.session_id)
    assert (session.processes, session.llm_calls) == (2, 2)
    assert session.tokens_out == first.usage.tokens_out + second.usage.tokens_out
    user = await node.tower.usage(ann)
    assert (user.processes, user.tokens_in) == (3, session.tokens_in + third.usage.tokens_in)
    whole = await node.tower.system_usage(ROOT)
    assert (whole.processes, whole.tokens_in) == (4, user.tokens_in + foreign.usage.tokens_in)
    assert await added_up(node) == await recount(node)


async def test_usage_of_others_is_for_administrators(start_node, send, ann) -> None:
    node = await start_node(talk)
    process = await send(node, caller=BOB)
    with pytest.raises(Forbidden):
        await node.tower.system_usage(ann)
    with pytest.raises(NotFound):
        await node.tower.usage(ann, process.session_id)
    assert (await node.tower.usage(ann)).processes == 0


async def test_usage_adds_up_over_answers_cancellations_and_restarts(start_node, send, ann) -> None:
    node = await start_node(talk)
    asked, hanging = await send(node, "ask"), await send(node, "hang", wait=None)
    queued = await send(node, "queued", wait=None, session_id=hanging.session_id)
    await node.stop()
    node = await start_node(talk)
    await node.tower.resume_request(ann, asked.pending.id, "yes", wait=10)
    await node.tower.cancel_request(ann, hanging.pid)
    assert (await node.tower.wait(ann, queued.pid, 10)).reply == "You said: queued"
    assert await added_up(node) == await recount(node)
    assert (await node.tower.usage(ann)).processes == 3


async def test_budget_of_the_day_is_checked_before_each_call(start_node, send, told) -> None:
    node = await start_node(talk, max_tokens_per_day=4)
    assert (await send(node, "hello")).reply == "You said: hello"
    process = await send(node, "again")
    assert process.reason == "max_tokens_per_day_exceeded"
    assert process.usage.llm_calls == 0
    exhausted = [e.payload for e in await told(node, process) if e.type == "resource.exhausted"]
    assert [payload["resource"] for payload in exhausted] == ["tokens_per_day"]
    assert (await send(node, "mine", caller=BOB)).reply == "You said: mine"


async def test_budget_is_new_on_another_day(start_node, send) -> None:
    node = await start_node(talk, max_tokens_per_day=4)
    await send(node, "hello")
    assert (await send(node, "again")).reason == "max_tokens_per_day_exceeded"
    await node.database.write(lambda tx: tx.execute("UPDATE usage SET day = day - 1"))
    assert (await send(node, "again")).reply == "You said: again"


@pytest.mark.sqlite  # a clock that leaps ends every wait for a server's answer, too
async def test_what_a_cancelled_run_has_used_counts(start_node, send, ann, leap) -> None:
    node = await start_node(talk)
    process = await send(node, "hang", wait=None)
    async with asyncio.timeout(3600):
        while not (await node.tower.get(ann, process.pid)).usage.llm_calls:
            await asyncio.sleep(0.01)
    leap(200)
    process = await node.tower.cancel_request(ann, process.pid)
    assert process.usage.elapsed_seconds >= 200
    assert (await node.tower.usage(ann)).elapsed_seconds >= 200
    assert await added_up(node) == await recount(node)


@pytest.mark.parametrize("end", ["cancel the parent", "supersede", "cancel the parent of both"])
async def test_what_a_run_has_used_counts_whoever_ends_it(start_node, send, ann, end: str) -> None:
    running: list[str] = []

    async def hangs(mission: Mission) -> str:
        running.append(mission.pid)
        await mission.step("hang", asyncio.Event().wait)
        return "never"

    async def parent(mission: Mission) -> str:
        await mission.gather(*(mission.spawn("hangs", each) for each in mission.message.split()))
        return "never"

    node = await start_node(hangs, parent)
    capability = "hangs" if end == "supersede" else "parent"
    message = "one two" if end.endswith("both") else "one"
    process = await send(node, message, capability=capability, wait=None)
    async with asyncio.timeout(10):
        while len(running) < len(message.split()):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    if end == "supersede":
        session = process.session_id
        await send(node, session_id=session, on_busy="cancel_previous", wait=None)
    else:
        await node.tower.cancel_request(ann, process.pid)
    ended = await node.tower.get_many(ann, running[: len(message.split())])
    assert all(each.usage.elapsed_seconds >= 0.2 for each in ended.values())
    usage = await node.tower.usage(ann, process.session_id)
    assert usage.elapsed_seconds >= 0.2 * len(ended)


async def test_what_a_child_has_used_counts_where_its_parent_ends_beside_it(
    start_node, send, ann
) -> None:
    running: list[str] = []

    async def hangs(mission: Mission) -> str:
        running.append(mission.pid)
        await mission.step("hang", asyncio.Event().wait)
        return "never"

    async def parent(mission: Mission) -> str:
        if running:  # no replay would do so by itself, but nothing keeps an orchestrator from it
            return "enough"
        await mission.gather(mission.clarify("Enough?"), mission.spawn("hangs", "go"))
        return "never"

    node = await start_node(hangs, parent)
    process = await send(node, capability="parent")
    async with asyncio.timeout(10):
        while not running:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.reply == "enough"
    [child] = (await node.tower.get_many(ann, running)).values()
    assert child.reason == "parent_ended"
    assert child.usage.elapsed_seconds >= 0.2
    assert (await node.tower.get(ann, process.pid)).usage.elapsed_seconds >= 0.2


async def test_what_is_saved_is_of_the_callers_own_session(
    start_node, send, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(mission: Mission) -> str:
        await mission.step("hang", asyncio.Event().wait)
        return "never"

    node = await start_node(hangs, max_backlog=2)
    ours: dict[str, Any] = {"session_id": "same", "create_session": True, "wait": None}
    first = await send(node, **ours)
    await send(node, caller=BOB, **ours)
    saved: list[str] = []
    commit = runner._commit

    async def noted(ledger: Ledger) -> None:
        saved.append(ledger._owner.user_id)
        await commit(ledger)

    monkeypatch.setattr(runner, "_commit", noted)
    async with asyncio.timeout(10):
        while len(node.tower._runner._ledgers) < 2:
            await asyncio.sleep(0.01)
    await send(node, on_busy="cancel_previous", **ours)
    assert saved == [first.user_id]


async def test_message_that_is_refused_saves_nothing(
    start_node, send, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(mission: Mission) -> str:
        await mission.step("hang", asyncio.Event().wait)
        return "never"

    node = await start_node(hangs, running_slots=1, max_ready=1)
    process = await send(node, wait=None)
    await send(node, wait=None)
    saved: list[Ledger] = []

    async def noted(ledger: Ledger) -> None:
        saved.append(ledger)

    monkeypatch.setattr(runner, "_commit", noted)
    with pytest.raises(Busy):
        await send(node, session_id=process.session_id, on_busy="cancel_previous", wait=None)
    assert saved == []


async def test_what_all_have_used_is_added_up_already(
    start_node, send, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await start_node(talk)
    for caller in (Caller("ann"), BOB):
        for _ in range(2):
            await send(node, "hello", caller=caller)
    [kept] = await node.database.fetch_all("SELECT SUM(cost), SUM(processes) FROM usage")
    models = await node.database.fetch_all(
        "SELECT model, SUM(calls), SUM(tokens_in), SUM(tokens_out) FROM model_usage GROUP BY model"
    )
    read: list[str] = []
    real = node.database.fetch_all, node.database.fetch_one

    async def fetch_all(sql: str, params: object = ()) -> object:
        read.append(sql)
        return await real[0](sql, params)

    async def fetch_one(sql: str, params: object = ()) -> object:
        read.append(sql)
        return await real[1](sql, params)

    monkeypatch.setattr(node.database, "fetch_all", fetch_all)
    monkeypatch.setattr(node.database, "fetch_one", fetch_one)
    total = await node.tower.system_usage(ROOT)
    assert (total.cost, total.processes) == tuple(kept)
    assert [
        (each.model, each.calls, each.tokens_in, each.tokens_out)
        for each in await node.tower.system_model_usage(ROOT)
    ] == [tuple(row) for row in models]
    assert (await node.tower.metrics()).total_processes == 4
    assert read
    assert not [sql for sql in read if " FROM usage" in sql or " FROM model_usage" in sql]
