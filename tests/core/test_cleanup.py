"""Clean-up: what is old goes, what is needed stays, and a crash between is made up for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from mission_system.core.capabilities import Reply
from mission_system.core.cleanup import Removed
from mission_system.core.clock import SECOND
from mission_system.core.errors import CursorExpired, Forbidden, InvalidInput, NotFound
from mission_system.core.events import retention as event_retention
from mission_system.core.events.event import Event
from mission_system.core.identity import LOCAL, Caller
from mission_system.core.node import Node
from mission_system.core.storage.sqlite.database import SqliteDatabase
from mission_system.core.tower import retention
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope, ProcessControlBlock, ProcessState

ANN = Caller("ann")
DAY = 24 * 3600 * SECOND


async def work(mission: Mission) -> str:
    """Asks, spawns or answers, as its message says."""
    match mission.message.split():
        case ["ask"]:
            return await mission.clarify("what?")
        case ["spawn", message]:
            return (await mission.spawn("work", message)).text
        case ["steps", count]:
            for number in range(int(count)):
                await mission.step(f"step {number}", asyncio.sleep, 0)
        case ["large"]:
            await mission.step("large", lambda: "x" * 100_000)
    return f"to {mission.message}"


async def send(node: Node, message: str, session: str | None = None) -> ProcessControlBlock:
    envelope = Envelope(caller=ANN, message=message, session_id=session)
    done = await node.tower.submit_request(envelope, wait=20)
    assert done.process is not None
    return done.process


async def age(node: Node, days: float, *processes: ProcessControlBlock) -> None:
    """Let these, and everything told so far, have happened that much earlier."""
    shift = int(days * DAY)

    async def unit(tx) -> None:
        for process in processes:
            await tx.execute(
                "UPDATE process SET completed_at = completed_at - ? WHERE pid = ?",
                (shift, process.pid),
            )
        await tx.execute("UPDATE event SET created_at = created_at - ?", (shift,))

    await node.database.write(unit)


async def count(node: Node, table: str) -> int:
    row = await node.database.fetch_one(f"SELECT COUNT(*) FROM {table}")
    return row[0] if row else 0


async def first_seq(node: Node) -> int:
    row = await node.database.fetch_one("SELECT MIN(first_seq) FROM stream WHERE name IS NULL")
    return row[0] if row else 0


async def rest(events: AsyncGenerator[Event, None], seen: list[Event]) -> None:
    async for event in events:
        seen.append(event)


# processes


async def test_old_process_goes_with_all_that_is_its_own_and_its_messages_stay(start_node) -> None:
    node = await start_node(work)
    old = await send(node, "large")
    young = await send(node, "hello", old.session_id)
    await age(node, 31, old)
    removed = await node.cleanup.clean_up(LOCAL)
    assert (removed.processes, removed.steps) == (1, 1)
    with pytest.raises(NotFound):
        await node.tower.get(ANN, old.pid)
    assert (await node.tower.get(ANN, young.pid)).reply == "to hello"
    assert await count(node, "step_output") == 0
    messages = (await node.chat.list_messages(ANN, old.session_id)).items
    assert [message.content for message in messages] == [
        "large",
        "to large",
        "hello",
        "to hello",
    ]
    assert messages[0].pid == old.pid
    assert (await send(node, "more", old.session_id)).reply == "to more"


async def test_each_session_keeps_its_newest(start_node) -> None:
    node = await start_node(work)
    first = [await send(node, "hello")]
    first += [await send(node, "hello", first[0].session_id) for _ in range(3)]
    other = await send(node, "hello")
    removed = await node.cleanup.clean_up(LOCAL, keep=2)
    assert removed.processes == 2
    left = {process.pid for process in (await node.tower.list_processes(ANN)).items}
    assert left == {first[2].pid, first[3].pid, other.pid}


async def test_what_a_session_keeps_are_requests_that_have_ended(start_node) -> None:
    node = await start_node(work)
    first = await send(node, "spawn hello")
    second = await send(node, "spawn hello", first.session_id)
    asking = await send(node, "ask", first.session_id)
    assert (await node.cleanup.clean_up(LOCAL, keep=2)).processes == 0
    assert (await node.cleanup.clean_up(LOCAL, keep=1)).processes == 2
    left = {process.pid for process in (await node.tower.list_processes(ANN)).items}
    assert {second.pid, asking.pid} <= left
    assert first.pid not in left


async def test_what_has_not_ended_stays_with_all_of_its_family(start_node) -> None:
    node = await start_node(work)
    waiting = await send(node, "ask")
    parent = await send(node, "spawn ask")
    pids = [process.pid for process in (await node.tower.list_processes(ANN)).items]
    assert len(pids) == 3
    events = await count(node, "event")
    assert await node.cleanup.clean_up(LOCAL, days=0, keep=0) == Removed(0, 0, 0)
    assert await count(node, "event") == events
    for process in (waiting, parent):
        question = process.pending
        assert question is not None
        process = await node.tower.resume_request(ANN, question.id, "so", wait=20)
        assert process.reply == "so"


async def test_a_family_goes_together(start_node) -> None:
    node = await start_node(work)
    await send(node, "spawn hello")
    removed = await node.cleanup.clean_up(LOCAL, days=0)
    assert removed.processes == 2
    assert await count(node, "process") == 0


async def test_ended_child_of_an_unfinished_parent_stays(start_node) -> None:
    async def boss(mission: Mission) -> str:
        reply: Reply = await mission.spawn("work", "hello")
        return await mission.clarify(f"{reply.text}?")

    node = await start_node(boss, work)
    await send(node, "go")
    assert (await node.cleanup.clean_up(LOCAL, days=0, keep=0)).processes == 0
    assert await count(node, "process") == 2


async def test_zombie_is_terminated_to_everybody_and_goes_in_the_next_round(
    start_node, monkeypatch
) -> None:
    node = await start_node(work)
    process = await send(node, "spawn hello")

    async def crash(_tx, pids):
        raise RuntimeError("crashed")

    with monkeypatch.context() as patched:
        patched.setattr(retention, "_remove", crash)
        with pytest.raises(RuntimeError):
            await node.cleanup.clean_up(LOCAL, days=0)
    shown = await node.tower.get(ANN, process.pid)
    assert (shown.state, shown.settled) == (ProcessState.ZOMBIE, True)
    assert shown.reply == "to hello"
    events = [event async for event in node.events.follow_process(ANN, process.pid)]
    assert events[-1].type == "process.completed"
    await node.stop()
    node = await start_node(work)
    assert (await node.cleanup.clean_up(LOCAL)).processes == 2
    assert await count(node, "process") == 0


async def test_many_steps_are_removed_in_small_units(start_node, monkeypatch) -> None:
    monkeypatch.setattr(retention, "STEPS", 4)
    node = await start_node(work)
    for message in ("steps 10", "steps 3", "hello"):
        await send(node, message)
    sizes: list[int] = []
    remove = retention._remove_steps

    async def counted(tx, ids):
        sizes.append(len(ids))
        await remove(tx, ids)

    monkeypatch.setattr(retention, "_remove_steps", counted)
    removed = await node.cleanup.clean_up(LOCAL, days=0)
    assert (removed.processes, removed.steps) == (3, 13)
    assert max(sizes) == 4


async def test_crash_between_two_units_leaves_nothing_for_ever(start_node, monkeypatch) -> None:
    monkeypatch.setattr(retention, "STEPS", 4)
    node = await start_node(work)
    process = await send(node, "steps 10")
    calls = 0
    remove = retention._remove

    async def crash(tx, pids):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("crashed")
        return await remove(tx, pids)

    with monkeypatch.context() as patched:
        patched.setattr(retention, "_remove", crash)
        with pytest.raises(RuntimeError):
            await node.cleanup.clean_up(LOCAL, days=0)
    assert await count(node, "step") == 6
    assert (await node.tower.get(ANN, process.pid)).state is ProcessState.ZOMBIE
    assert (await node.cleanup.clean_up(LOCAL)).steps == 6
    assert (await count(node, "step"), await count(node, "process")) == (0, 0)


async def test_old_calls_outside_any_process_are_removed(start_node) -> None:
    node = await start_node(work)
    await node.runtime.tool_executor.execute("nothing", {})
    assert await count(node, "step") == 1
    assert (await node.cleanup.clean_up(LOCAL)).steps == 0
    assert (await node.cleanup.clean_up(LOCAL, days=0)).steps == 1


# events


async def test_events_are_cut_from_the_beginning_in_small_units(start_node, monkeypatch) -> None:
    monkeypatch.setattr(event_retention, "CUT", 3)
    node = await start_node(work)
    old = await send(node, "hello")
    before = await count(node, "event")
    await age(node, 31)
    young = await send(node, "hello", old.session_id)
    removed = await node.cleanup.clean_up(LOCAL)
    assert removed == Removed(0, 0, before)
    kept = await node.events.read(ANN, old.session_id)
    assert kept[0].seq == before + 1 == await first_seq(node)
    assert {event.pid for event in kept if event.pid} == {young.pid}
    assert (await node.cleanup.clean_up(LOCAL)).events == 0


async def test_story_of_a_process_that_waits_is_kept_whole(start_node) -> None:
    node = await start_node(work)
    done = await send(node, "hello")
    waiting = await send(node, "ask", done.session_id)
    told = [event.seq for event in await node.events.read(ANN, done.session_id)]
    await age(node, 31)
    assert (await node.cleanup.clean_up(LOCAL)).events > 0
    kept = await node.events.read(ANN, done.session_id)
    assert [event.seq for event in kept] == [seq for seq in told if seq >= kept[0].seq]
    story = [event.type for event in kept if event.pid == waiting.pid]
    assert "process.created" in story
    assert waiting.pending is not None
    process = await node.tower.resume_request(ANN, waiting.pending.id, "so", wait=10)
    assert process.reply == "so"
    stories = [event.type async for event in node.events.follow_process(ANN, waiting.pid)]
    assert stories[:2] == ["chat.message.created", "process.created"]
    assert stories[-1] == "process.completed"


async def test_follower_behind_the_cut_is_told_so(start_node) -> None:
    node = await start_node(work)
    process = await send(node, "hello")
    await node.cleanup.clean_up(LOCAL, days=0)
    await send(node, "hello", process.session_id)
    with pytest.raises(CursorExpired) as expired:
        await anext(node.events.follow_session(ANN, process.session_id, after=2))
    assert expired.value.oldest == await first_seq(node)
    async with aclosing(
        node.events.follow_session(ANN, process.session_id, after=expired.value.oldest - 1)
    ) as events:
        assert (await anext(events)).seq == expired.value.oldest


async def test_slow_follower_that_is_overtaken_by_the_cut_is_told_so(start_node) -> None:
    node = await start_node(work)
    process = await send(node, "hello")
    async with (
        aclosing(node.events.follow_session(ANN, process.session_id, after=0)) as events,
        asyncio.timeout(20),
    ):
        seen = [await anext(events)]
        await node.cleanup.clean_up(LOCAL, days=0)
        await send(node, "steps 300", process.session_id)
        await node.cleanup.clean_up(LOCAL, days=0)
        await send(node, "hello", process.session_id)
        with pytest.raises(CursorExpired):
            await rest(events, seen)
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))


# rounds


async def test_rounds_come_by_themselves_and_end_with_the_node(start_node) -> None:
    node = await start_node(work, retention_days=0, cleanup_seconds=0.05)
    await send(node, "hello")
    async with asyncio.timeout(20):
        while await count(node, "process"):
            await asyncio.sleep(0.01)
    await node.stop()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "clean-up"]


async def test_failed_round_is_followed_by_another(start_node, monkeypatch) -> None:
    node = await start_node(work, retention_days=0, cleanup_seconds=0.05)
    failed = asyncio.Event()
    forget = retention.ProcessRetention.forget

    async def once(self, before, keep):
        if not failed.is_set():
            failed.set()
            raise RuntimeError("no luck")
        return await forget(self, before, keep)

    monkeypatch.setattr(retention.ProcessRetention, "forget", once)
    await asyncio.wait_for(failed.wait(), 20)
    await send(node, "hello")
    async with asyncio.timeout(20):
        while await count(node, "process"):
            await asyncio.sleep(0.01)


async def test_no_round_comes_where_they_are_off(start_node) -> None:
    await start_node(work, cleanup_seconds=0)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "clean-up"]


async def test_only_an_admin_may_clean_up_and_within_bounds(start_node) -> None:
    node = await start_node(work)
    with pytest.raises(Forbidden):
        await node.cleanup.clean_up(ANN)
    for given in ({"days": -1}, {"keep": -1}, {"days": 10**9}, {"keep": 10**9}):
        with pytest.raises(InvalidInput, match=next(iter(given))):
            await node.cleanup.clean_up(LOCAL, **given)


async def test_work_goes_on_while_much_is_removed(start_node) -> None:
    node = await start_node(work)
    session = (await send(node, "hello")).session_id
    for _ in range(3):
        await asyncio.gather(*(send(node, "steps 5") for _ in range(10)))
    cleaning = asyncio.create_task(node.cleanup.clean_up(LOCAL, days=0))
    replies = [(await send(node, "ask", session)).state for _ in range(5)]
    await cleaning
    assert replies == [ProcessState.WAITING] * 5
    assert await count(node, "interrupt") == 5


# reads


async def plans(node: Node, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """How the database goes about each read of a round over processes."""
    postgres = not isinstance(node.database, SqliteDatabase)
    explain = "EXPLAIN" if postgres else "EXPLAIN QUERY PLAN"
    read = node.database.fetch_all
    found: dict[str, str] = {}

    async def explained(sql, params=()):
        if "FROM process" in sql:
            rows = await read(f"{explain} {sql}", params)
            found[sql] = "\n".join(str(row[0 if postgres else 3]) for row in rows)
        return await read(sql, params)

    monkeypatch.setattr(node.database, "fetch_all", explained)
    removed = await node.cleanup.clean_up(LOCAL, keep=19)
    monkeypatch.undo()
    assert removed.processes == 300
    return found


async def test_no_read_of_a_round_walks_the_whole_table(start_node, monkeypatch) -> None:
    node = await start_node(work)
    await many(node, sessions=300, of_each=20)
    await node.database.write(lambda tx: tx.execute("ANALYZE process"))
    monkeypatch.setattr(retention, "SESSIONS", 20)
    found = await plans(node, monkeypatch)
    assert len(found) >= 4
    for sql, plan in found.items():
        assert "Seq Scan" not in plan, f"{sql}: {plan}"
        assert "SCAN process" not in plan, f"{sql}: {plan}"
        assert "TEMP B-TREE FOR GROUP BY" not in plan, f"{sql}: {plan}"


async def many(node: Node, sessions: int, of_each: int) -> None:
    """So many ended processes in so many sessions, copies of one."""
    process = await send(node, "hello")

    async def unit(tx) -> None:
        row = await tx.fetch_one("SELECT * FROM process")
        columns = set(row.keys()) - {"pid", "session_id"}
        names = ", ".join(columns)
        for session in range(1000, 1000 + sessions):
            await tx.execute(
                "INSERT INTO session (id, public_id, user_id, message_count, created_at,"
                " last_activity) VALUES (?, ?, ?, 0, 0, 0)",
                (session, f"s{session}", ANN.user_id),
            )
            await tx.execute_many(
                f"INSERT INTO process (pid, session_id, {names})"
                f" SELECT ?, ?, {names} FROM process WHERE pid = ?",
                [(f"{session:06d}-{each:04d}", session, process.pid) for each in range(of_each)],
            )

    await node.database.write(unit)


async def test_rounds_go_through_a_table_part_by_part(start_node, monkeypatch) -> None:
    monkeypatch.setattr(retention, "CANDIDATES", 3)
    monkeypatch.setattr(retention, "SESSIONS", 2)
    node = await start_node(work)
    await many(node, sessions=5, of_each=4)
    removed = await node.cleanup.clean_up(LOCAL, keep=1)
    assert removed.processes == 5 * 3
    left = await node.database.fetch_all("SELECT pid FROM process ORDER BY pid")
    assert [row["pid"] for row in left][:5] == [
        f"{session:06d}-0003" for session in range(1000, 1005)
    ]
    assert (await node.cleanup.clean_up(LOCAL, days=0)).processes == 6


async def test_what_cannot_go_yet_is_in_the_way_of_nothing(start_node, monkeypatch) -> None:
    monkeypatch.setattr(retention, "CANDIDATES", 2)
    node = await start_node(work)
    for _ in range(3):
        await send(node, "ask")
    parents = [await send(node, "spawn ask") for _ in range(3)]
    for parent in parents:  # ended, with children that have not
        await node.database.write(
            lambda tx, pid=parent.pid: tx.execute(
                "UPDATE process SET state = 'terminated', completed_at = created_at WHERE pid = ?",
                (pid,),
            )
        )
    young = await send(node, "hello", parents[0].session_id)
    assert (await node.cleanup.clean_up(LOCAL, days=0)).processes == 1
    with pytest.raises(NotFound):
        await node.tower.get(ANN, young.pid)
