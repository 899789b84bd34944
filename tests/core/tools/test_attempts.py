"""Each attempt at a tool is a call of its own, in health, windows and breakers: compared with what
the tool itself has noted."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mission_system import OrchestratorSpec, Retry, ToolCatalog, ToolFailed, tool
from mission_system.core.alignment.indicator import Indicator
from mission_system.core.capabilities import CapabilityRegistry
from mission_system.core.clock import SECOND
from mission_system.core.errors import Busy
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tools import calls
from mission_system.core.tools.breaker import BreakerState
from mission_system.core.tools.call import idempotency_key
from mission_system.core.tools.health import ToolHealth
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope, Outcome

ANN = Caller("ann")
ATTEMPTS = 3
MADE: defaultdict[str, list[str]] = defaultdict(list)
"""What each step's attempts came to, by its idempotency key."""

SCRIPTS = st.lists(
    st.lists(
        st.sampled_from(["success", "error", "busy", "timeout", "cancelled"]),
        min_size=1,
        max_size=ATTEMPTS,
    ),
    min_size=1,
    max_size=4,
)


@tool(timeout=0.05, retry=Retry(attempts=ATTEMPTS, initial_seconds=0))
async def act(script: list[str]) -> str:
    """Do what the script says of this attempt; at its end, succeed."""
    made = MADE[str(idempotency_key())]
    made.append(script[len(made)] if len(made) < len(script) else "success")
    match made[-1]:
        case "error":
            raise RuntimeError("no")
        case "busy":
            raise Busy("too many")
        case "timeout":
            await asyncio.Event().wait()
        case "cancelled":
            raise asyncio.CancelledError
    return "done"


async def work(mission: Mission) -> str:
    for script in json.loads(mission.message):
        with contextlib.suppress(ToolFailed):
            await mission.tools.act(script=script)
    return "done"


def make_node(folder: Path, **given: Any) -> Node:
    runtime = create_mission_runtime(
        ToolCatalog([act]), settings=Settings(data=folder, **given), use_mock=True
    )
    return Node(runtime, CapabilityRegistry((OrchestratorSpec("work", work),), "work"))


async def send(node: Node, scripts: list[list[str]]) -> None:
    envelope = Envelope(caller=ANN, message=json.dumps(scripts))
    process = (await node.tower.submit_request(envelope, wait=60)).process
    assert process is not None
    assert process.outcome is Outcome.COMPLETED


def made() -> Counter[str]:
    return Counter(outcome for each in MADE.values() for outcome in each)


def seen(health: ToolHealth) -> tuple[int, int, int]:
    return (
        health.total_calls,
        round(health.success_rate * health.total_calls),
        health.recent_errors,
    )


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[asyncio.Runner, Node]]:
    MADE.clear()
    folder = tmp_path_factory.mktemp("attempts")
    with asyncio.Runner() as runner:
        node = make_node(folder, breaker_policy="off")
        runner.run(node.start())
        yield runner, node
        runner.run(node.stop())


@settings(max_examples=30, phases=[Phase.generate])  # each example adds to those before it
@given(scripts=SCRIPTS, rolls_up=st.booleans())
def test_every_attempt_counts_once(
    running: tuple[asyncio.Runner, Node], scripts: list[list[str]], rolls_up: bool
) -> None:
    runner, node = running

    async def run() -> None:
        await send(node, scripts)
        count = made()
        expected = (count.total(), count["success"], count["error"] + count["timeout"])
        assert seen(await node.tool_health.tool("act")) == expected
        if rolls_up:
            await node.roll_up.run()
            assert seen(await node.tool_health.tool("act")) == expected
        steps = await node.database.fetch_all(
            "SELECT process_id, key, attempt FROM step WHERE kind = 'tool'"
        )
        counted = {f"{row['process_id']}:{row['key']}": row["attempt"] for row in steps}
        assert counted == {key: len(each) for key, each in MADE.items()}
        outcomes = node.runtime.breakers.outcomes
        assert {status.value: n for (_, status), n in outcomes.items()} == count
        [bounded] = [each for each in await measured(node) if each.name == "bounded_retry"]
        assert (bounded.state, bounded.value) == ("met", 1.0)

    runner.run(run())


async def measured(node: Node) -> list[Indicator]:
    node.alignment.forget()
    return await node.alignment.report()


async def test_attempts_that_were_tried_again_open_a_breaker_after_a_restart(
    tmp_path: Path,
) -> None:
    async with make_node(tmp_path, breaker_policy="off") as node:
        await send(node, [["error"] * (ATTEMPTS - 1)] * 3)
        assert node.runtime.breakers.get("act").state is BreakerState.CLOSED
    async with make_node(tmp_path) as node:
        assert node.runtime.breakers.get("act").state is BreakerState.OPEN


async def test_an_attempt_takes_its_own_time_and_no_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "ROUND_SECONDS", 3600.0)  # none is rolled up meanwhile
    async with make_node(tmp_path) as node:
        await send(node, [["timeout", "error"]])
        rows = await node.database.fetch_all("SELECT * FROM tool_call ORDER BY id")
        [step] = await node.database.fetch_all("SELECT * FROM step WHERE kind = 'tool'")
        assert [row["status"] for row in rows] == ["timeout", "error", "success"]
        assert rows[0]["duration"] >= 0.05 * SECOND
        assert rows[0]["started_at"] + rows[0]["duration"] <= rows[1]["started_at"] + 1000
        assert sum(row["duration"] for row in rows) <= step["duration"]
