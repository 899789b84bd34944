"""Seven layers: the server's own tell what is in the database, the others what plugins say."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from databases import CHOSEN

from mission_system.core.clock import maybe_datetime, to_datetime
from mission_system.core.errors import Unavailable
from mission_system.core.identity import LOCAL, Caller
from mission_system.core.memory import layers as subject
from mission_system.core.memory.layers import FOREIGN, LayerStatus, MemoryLayer, MemoryLayerSpec
from mission_system.core.node import Node
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tools import calls
from mission_system.core.tools.calls import HOUR, MINUTE
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope, ProcessControlBlock
from mission_system.web.rest import dashboard

ANN = Caller("ann")
WINDOW = (
    "INSERT INTO tool_window (span, start, tool, calls, successes, failures, duration, longest,"
    " last_at) VALUES (?, ?, 'look', 1, 1, 0, 1, 1, 1)"
)


@tool
def look() -> str:
    """Look."""
    return "seen"


async def work(mission: Mission) -> str:
    await mission.state.set("seen", await mission.tools.look())
    return "done"


@pytest.fixture
async def node(start_node: Any, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(calls, "ROUND_SECONDS", 3600.0)  # tests roll up themselves
    started: Node = await start_node(work, tools=[look])
    return started


async def layers(node: Node) -> dict[str, MemoryLayer]:
    return {layer.id: layer for layer in await node.memory_layers.status()}


async def send(node: Node, **given: Any) -> ProcessControlBlock:
    envelope = Envelope(caller=ANN, message="hi", **given)
    process = (await node.tower.submit_request(envelope, wait=20)).process
    assert process is not None
    return process


async def scanned(node: Node, sql: str) -> tuple[int, datetime | None]:
    """Rows, and when the last of them was written, by a look at all of them."""
    row = await node.database.fetch_one(sql)
    assert row is not None
    return int(row[0]), maybe_datetime(row[1])


def shown(layer: MemoryLayer) -> tuple[int | None, datetime | None]:
    assert (layer.state, layer.healthy, layer.is_estimate) == ("active", True, False)
    assert layer.backend == {"sqlite": "sqlite", "postgres": "postgresql"}[CHOSEN]
    assert (layer.message, layer.enable) == (None, None)
    return layer.rows, layer.last_write


async def test_nothing_was_written_yet(node: Node) -> None:
    found = await layers(node)
    assert [shown(found[id]) for id in ("L1", "L4", "L7")] == [(0, None)] * 3
    for id in FOREIGN:
        assert (found[id].state, found[id].backend, found[id].rows) == ("available", None, None)
        assert found[id].enable == f"install a plugin whose register_memory_layers() brings {id}"


async def test_canonical_memory_is_sessions_and_messages(node: Node) -> None:
    sql = """
    SELECT (SELECT COUNT(*) FROM session) + (SELECT COUNT(*) FROM message), MAX(at) FROM (
        SELECT created_at AS at FROM session UNION ALL SELECT created_at FROM message
        UNION ALL SELECT edited_at FROM message UNION ALL SELECT deleted_at FROM message
        UNION ALL SELECT deleted_at FROM session) a"""
    seen: list[datetime | None] = []

    async def check(rows: int) -> None:
        found = shown((await layers(node))["L1"])
        assert found == await scanned(node, sql)
        assert found[0] == rows
        assert found[1] not in seen
        seen.append(found[1])

    first = await send(node)
    await check(3)
    await send(node, session_id=first.session_id)
    await check(5)
    second = await send(node)
    await check(8)
    await node.chat.create_session(ANN)
    await check(9)
    message = (await node.chat.list_messages(ANN, second.session_id)).items[0]
    await node.chat.edit_message(ANN, message.message_id, "ho")
    await check(9)
    await node.chat.delete_message(ANN, message.message_id)
    await check(9)
    await node.chat.delete_session(ANN, first.session_id)
    await check(9)
    at = datetime.now(UTC)
    await node.chat.update_session(ANN, second.session_id, title="new", archived_at=at)
    assert shown((await layers(node))["L1"]) == (9, seen[-1])


async def test_the_log_of_events_is_a_layer(node: Node) -> None:
    await send(node)
    found = shown((await layers(node))["L2"])
    assert found == await scanned(node, "SELECT COUNT(*), MAX(created_at) FROM event")


async def test_working_memory_was_written_when_any_key_was(node: Node) -> None:
    sql = "SELECT COUNT(*), MAX(updated_at) FROM working_state"
    first = await send(node)
    await send(node)
    before = shown((await layers(node))["L4"])
    assert before == await scanned(node, sql)
    await send(node, session_id=first.session_id)  # sets the older of the two rows again
    after = shown((await layers(node))["L4"])
    assert after == await scanned(node, sql)
    assert after[0] == before[0] == 2
    assert before[1] is not None
    assert after[1] is not None
    assert after[1] > before[1]


async def test_metrics_of_tools_count_each_minute_once(node: Node) -> None:
    await send(node)
    await send(node)
    started = await node.database.fetch_one("SELECT MAX(started_at) FROM tool_call")
    assert started is not None
    last = to_datetime(started[0])
    assert shown((await layers(node))["L7"]) == (2, last)
    await node.roll_up.run()
    minutes = await node.database.fetch_one(
        "SELECT COUNT(DISTINCT start) FROM tool_window WHERE span = 60000000"
    )
    assert minutes is not None
    assert shown((await layers(node))["L7"]) == (minutes[0], last)


async def test_many_rows_are_estimated(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COUNTED", 2), ("SLICES", 3), ("WIDTH", 50)):
        monkeypatch.setattr(subject, name, value)
    ids = [id for id in range(1000, 3000) if id % 4 == 0]

    async def unit(tx: Transaction) -> None:
        rows = [(MINUTE if id % 8 else HOUR, id * HOUR, id) for id in ids]
        sql = WINDOW.replace("last_at)", "last_at, id)").replace("1)", "1, ?)")
        await tx.execute_many(sql, rows)

    await node.database.write(unit)
    layer = (await layers(node))["L7"]
    assert layer.is_estimate
    assert layer.rows is not None
    assert 200 < layer.rows < 300  # 250 windows of a minute


async def test_a_database_that_is_gone_fails_its_layers_and_raises_nothing(node: Node) -> None:
    await node.stop()
    found = await layers(node)
    assert [found[id].state for id in ("L1", "L2", "L4", "L7")] == ["failed"] * 4
    assert found["L1"].message == "the database is closed"
    assert found["L3"].state == "available"


async def test_a_database_that_hangs_is_asked_once_by_each_of_its_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, released = 0, asyncio.Event()

    class Hangs:
        async def fetch_one(self, *_: object) -> None:
            nonlocal asked
            asked += 1
            try:
                await released.wait()
            except asyncio.CancelledError:
                await released.wait()

    monkeypatch.setattr(subject, "CHECK_SECONDS", 0.05)
    layers = subject.MemoryLayers(cast("Any", Hangs()))
    try:
        for _ in range(2):
            found = [layer for layer in await layers.status() if layer.id in subject.OWN]
            assert {layer.message for layer in found} == {"no answer within 0.05 s"}
            assert asked == len(found)
    finally:
        released.set()


async def test_a_layer_of_a_plugin_says_how_it_is(node: Node) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)

    async def check() -> LayerStatus:
        return LayerStatus(rows=12, last_write=at, healthy=False, message="half of it is cold")

    node.memory_layers.register(MemoryLayerSpec(layer="L3", backend="vectors", check=check))
    found = (await layers(node))["L3"]
    assert (found.state, found.backend, found.rows) == ("active", "vectors", 12)
    assert (found.healthy, found.last_write, found.enable) == (False, at, None)
    with pytest.raises(ValueError, match="kept by 'vectors' already"):
        node.memory_layers.register(MemoryLayerSpec(layer="L3", backend="other", check=check))
    with pytest.raises(ValueError, match="'L1' is not one that plugins bring"):
        MemoryLayerSpec(layer="L1", backend="vectors", check=check)


async def raises() -> LayerStatus:
    raise RuntimeError("secret")


async def unavailable() -> LayerStatus:
    raise Unavailable("the index is being built")


async def hangs() -> LayerStatus:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def goes_on() -> LayerStatus:
    """Takes no notice of a first cancellation."""
    try:
        return await hangs()
    except asyncio.CancelledError:
        return await hangs()


async def cancels_itself() -> LayerStatus:
    raise asyncio.CancelledError


def returns(value: Any) -> Callable[[], Any]:
    async def check() -> Any:
        return value

    return check


IN_LOG = "it failed; the server's log says why"
BROKEN = "its check is broken: "


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (raises, IN_LOG),
        (unavailable, "the index is being built"),
        (hangs, "no answer within 0.05 s"),
        (goes_on, "no answer within 0.05 s"),
        (cancels_itself, IN_LOG),
        (lambda: None, IN_LOG),
        (returns(None), f"{BROKEN}it returned NoneType, expected LayerStatus"),
        (returns({"rows": 1}), f"{BROKEN}it returned dict, expected LayerStatus"),
        (returns(LayerStatus(rows="12")), f"{BROKEN}rows is str, expected int | None"),  # type: ignore[arg-type]
        (
            returns(LayerStatus(last_write="now")),  # type: ignore[arg-type]
            f"{BROKEN}last_write is str, expected datetime.datetime | None",
        ),
        (returns(LayerStatus(rows=-1)), f"{BROKEN}rows is not between 0 and 9007199254740991"),
    ],
)
async def test_a_layer_that_fails_or_hangs_holds_up_no_other(
    node: Node, monkeypatch: pytest.MonkeyPatch, check: Any, message: str
) -> None:
    monkeypatch.setattr(subject, "CHECK_SECONDS", 0.05)
    node.memory_layers.register(MemoryLayerSpec(layer="L5", backend="graph", check=check))
    async with asyncio.timeout(30):
        for _ in range(2):
            found = await layers(node)
            assert (found["L5"].state, found["L5"].message) == ("failed", message)
            assert len(found) == 7
    assert "Memory Layer Status" in dashboard.page(await dashboard.look(node, LOCAL))


@pytest.mark.sqlite
async def test_an_estimate_reads_a_part_of_the_table(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "COUNTED", 2)
    monkeypatch.setattr(subject, "WIDTH", 5)
    many = 20_000

    async def unit(tx: Transaction) -> None:
        rows = [(MINUTE, n * MINUTE) for n in range(many)]
        await tx.execute_many(WINDOW, rows)

    await node.database.write(unit)
    read: list[tuple[str, Any]] = []
    real = node.database.fetch_one

    async def fetch_one(sql: str, params: Any = ()) -> Any:
        read.append((sql, params))
        return await real(sql, params)

    monkeypatch.setattr(node.database, "fetch_one", fetch_one)
    assert (await layers(node))["L7"].rows == many
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    with closing(sqlite3.connect(tmp_path / "data" / "mission.sqlite3")) as connection:
        connection.set_progress_handler(step, 1)
        for sql, params in read:
            connection.execute(sql, params).fetchall()
    assert 0 < steps < many  # of SQLite's machine, which takes some for each row
