"""Seven layers: the server's own tell what is in the database, the others what plugins say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from mission_system.core.clock import SECOND, now, to_datetime
from mission_system.core.errors import Unavailable
from mission_system.core.identity import LOCAL, Caller
from mission_system.core.memory import layers as subject
from mission_system.core.memory.layers import LayerStatus, MemoryLayer, MemoryLayerSpec
from mission_system.core.node import Node
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope
from mission_system.web.rest import dashboard


@tool
def look() -> str:
    """Look."""
    return "seen"


async def work(mission: Mission) -> str:
    await mission.state.set("seen", await mission.tools.look())
    return "done"


@pytest.fixture
async def node(start_node: Any) -> Node:
    started: Node = await start_node(work, tools=[look])
    return started


async def layers(node: Node) -> dict[str, MemoryLayer]:
    return {layer.id: layer for layer in await node.memory_layers.status()}


async def test_own_layers_count_what_is_there(node: Node) -> None:
    before = await layers(node)
    assert [before[each].rows for each in ("L1", "L4", "L7")] == [0, 0, 0]
    assert before["L1"].last_write is None
    began = now()
    await node.tower.submit_request(Envelope(caller=Caller("ann"), message="hi"), wait=20)
    await node.roll_up.run()
    after = await layers(node)
    events = await node.database.fetch_one("SELECT COUNT(*), MAX(created_at) FROM event")
    assert events is not None
    assert (after["L1"].rows, after["L4"].rows, after["L7"].rows) == (2, 1, 2)
    assert (after["L2"].rows, after["L2"].last_write) == (events[0], to_datetime(events[1]))
    for id in ("L1", "L2", "L4", "L7"):
        layer = after[id]
        assert (layer.state, layer.healthy, layer.is_estimate) == ("active", True, False)
        assert layer.last_write is not None
        assert layer.last_write >= to_datetime(began - SECOND)


async def test_many_rows_are_estimated(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "COUNTED", 2)
    for _ in range(3):
        await node.tower.submit_request(Envelope(caller=Caller("ann"), message="hi"), wait=20)
    layer = (await layers(node))["L1"]
    assert (layer.rows, layer.is_estimate) == (6, True)


async def test_a_database_that_is_gone_fails_its_layers_and_raises_nothing(node: Node) -> None:
    await node.stop()
    found = await layers(node)
    assert [found[id].state for id in ("L1", "L2", "L4", "L7")] == ["failed"] * 4
    assert found["L1"].message == "the database is closed"
    assert found["L3"].state == "available"


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
