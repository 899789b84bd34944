"""Whatever is done to a session, its counters equal its rows."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import orjson
from hypothesis import given
from hypothesis import strategies as st

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec
from mission_system.core.errors import Forbidden, NotFound
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tower.process import Envelope

from .conftest import ANN, echo


@dataclass(frozen=True)
class Act:
    """`which` chooses among the sessions, or messages, that there ever were."""

    what: str
    which: int


WHAT = (
    *("say", "say", "say together", "create", "rename", "edit"),
    *("delete message", "remove message", "delete session", "remove session"),
)
actions = st.lists(
    st.builds(Act, st.sampled_from(WHAT), st.integers(0, 12)), min_size=1, max_size=20
)


async def act(node: Node, action: Act) -> None:
    chat = node.chat
    rows = await node.database.fetch_all("SELECT public_id FROM session ORDER BY id")
    numbers = await node.database.fetch_all("SELECT id FROM message ORDER BY id")
    session = rows[action.which % len(rows)][0] if rows else "none"
    message = numbers[action.which % len(numbers)][0] if numbers else 1

    async def say() -> None:
        request = Envelope(caller=ANN, message="hi", session_id=session)
        await node.tower.submit_request(request, wait=None if action.which % 2 else 10)

    match action.what:
        case "create":
            await chat.create_session(ANN)
        case "say":
            await say()
        case "say together":
            deletes = chat.delete_message(ANN, message)
            removes = chat.delete_message(ANN, message, soft=False)
            # To the end of all three: what went on by itself would be compared half done.
            done = await asyncio.gather(say(), deletes, removes, return_exceptions=True)
            if failed := [each for each in done if isinstance(each, BaseException)]:
                raise failed[0]
        case "rename":
            await chat.update_session(ANN, session, title="T")
        case "edit":
            await chat.edit_message(ANN, message, "edited")
        case "delete message" | "remove message":
            await chat.delete_message(ANN, message, soft=action.what.startswith("delete"))
        case "delete session" | "remove session":
            await chat.delete_session(ANN, session, soft=action.what.startswith("delete"))


async def check(node: Node) -> None:
    """Counters equal rows, streams of sessions have no gap, and tell what the rows hold."""
    database = node.database
    for session in await database.fetch_all(
        "SELECT s.*, (SELECT COUNT(*) FROM message m WHERE m.session_id = s.id"
        " AND m.deleted_at IS NULL) AS rows FROM session s"
    ):
        assert session["message_count"] == session["rows"]
        assert not (session["deleted_at"] and session["rows"])
    for stream in await database.fetch_all("SELECT * FROM stream WHERE name IS NULL"):
        events = await database.fetch_all(
            "SELECT * FROM event WHERE stream_id = ? ORDER BY seq", (stream["id"],)
        )
        kept = range(stream["first_seq"], stream["last_seq"] + 1)
        assert [event["seq"] for event in events] == list(kept)
        types = [event["type"] for event in events]
        live = await database.fetch_one("SELECT * FROM session WHERE id = ?", (stream["id"],))
        if live is None:
            assert types[-1] == "chat.session.deleted"
            assert orjson.loads(events[-1]["payload"])["soft"] is False
        else:
            assert types.count("chat.session.deleted") == (live["deleted_at"] is not None)
    orphans = await database.fetch_all(
        "SELECT pid FROM process WHERE session_id NOT IN (SELECT id FROM session)"
    )
    assert orphans == []


async def run(folder: Path, chosen: list[Act]) -> None:
    runtime = create_mission_runtime(
        ToolCatalog(), settings=Settings(data=folder, shutdown_seconds=0), use_mock=True
    )
    async with Node(runtime, CapabilityRegistry((OrchestratorSpec("echo", echo),))) as node:
        await node.chat.create_session(ANN)
        for action in chosen:
            try:
                await act(node, action)
            except (NotFound, Forbidden):
                continue
        async with asyncio.timeout(30):
            while node.tower.depth != (0, 0):
                await asyncio.sleep(0.01)
        await check(node)


@given(actions)
def test_counters_equal_rows_whatever_is_done(chosen: list[Act]) -> None:
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name), chosen))
