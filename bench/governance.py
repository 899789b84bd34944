"""What `governance` costs over a long history of tool calls.

    .venv/bin/python -P bench/governance.py [calls] [tools] [questions]

Fills a journal, rolls it up as a server would, and asks GraphQL: all of it, and each part alone.
`MISSION_DATABASE_URL` names a PostgreSQL database to use instead of SQLite.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from mission_system import Settings, ToolCatalog
from mission_system.core.capabilities import CapabilityRegistry
from mission_system.core.clock import SECOND, now
from mission_system.core.identity import LOCAL
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.storage.persistence import Transaction
from mission_system.schema.build import build_schema
from mission_system.schema.context import Context

PARTS = {
    "summary": "summary { overallStatus healthy degraded unhealthy unknown }",
    "tools": "tools { tool status successRate avgLatencyMs totalCalls recentErrors lastUsed }",
    "tools of a year": "tools(hours: 8760) { tool status totalCalls }",
    "slowExecutions": "slowExecutions { tool executionTimeMs recordedAt }",
    "breakers": "breakers { tool state offered }",
    "memoryLayers": "memoryLayers { layer state rows lastWrite }",
    "alignment": "alignment { name state value cases { text } }",
}
WHOLE = " ".join(text for name, text in PARTS.items() if name != "tools of a year")
STEP = (
    "INSERT INTO step (process_id, key, kind, name, digest, status, attempt, error, large, size,"
    " created_at, duration, tokens_in, tokens_out, cost, input_changed)"
    " VALUES (NULL, ?, 'tool', ?, '', ?, 1, ?, ?, 2, ?, ?, 0, 0, 0, ?)"
)
CALLS = (
    "INSERT INTO tool_call (id, tool, status, started_at, duration)"
    " SELECT id, name, CASE status WHEN 'completed' THEN 'success' ELSE 'error' END, created_at,"
    " duration FROM step WHERE id > ? AND id <= ?"
)
ERROR = '{"type":"ToolFailed","args":["t","error","no",false]}'
DAYS = 30
CHUNK = 20_000


async def fill(node: Node, calls: int, tools: int) -> None:
    """That many calls, spread over the last days; each 20th fails, each 500th is slow."""
    end = now()
    apart = DAYS * 86_400 * SECOND // calls

    for first in range(0, calls, CHUNK):

        async def unit(tx: Transaction, first: int = first) -> None:
            rows = [
                (
                    f"c{n}",
                    f"tool_{n % tools}",
                    "failed" if n % 20 == 0 else "completed",
                    '{"type":"ToolFailed","args":["t","error","no",false]}'
                    if n % 20 == 0
                    else None,
                    False,
                    end - (calls - n) * apart,
                    6 * SECOND if n % 500 == 0 else 20_000,
                    False,
                )
                for n in range(first, min(first + CHUNK, calls))
            ]
            await tx.execute_many(STEP, rows)
            last = await tx.fetch_one("SELECT MAX(id) FROM step")
            assert last is not None
            await tx.execute(CALLS, (last[0] - len(rows), last[0]))

        await node.database.write(unit)
    await node.roll_up.run()


async def main(calls: int, tools: int, questions: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runtime = create_mission_runtime(
            ToolCatalog(), settings=Settings(data=Path(folder)), use_mock=True
        )
        schema = build_schema()
        async with Node(runtime, CapabilityRegistry()) as node:
            began = time.perf_counter()
            await fill(node, calls, tools)
            print(f"{calls:,} calls of {tools} tools stored in {time.perf_counter() - began:.0f} s")
            for name, text in {"all of it": WHOLE, **PARTS}.items():
                took: list[float] = []
                for _ in range(questions):
                    node.alignment.forget()
                    began = time.perf_counter()
                    result = await schema.execute(
                        f"{{ governance {{ {text} }} }}", context_value=Context(node, LOCAL)
                    )
                    took.append((time.perf_counter() - began) * 1000)
                    assert not result.errors, result.errors
                p99 = quantiles(took, n=100)[98] if len(took) > 1 else took[0]
                print(f"{name:16} p50 {median(took):7.1f} ms   p99 {p99:7.1f} ms")


if __name__ == "__main__":
    given = [int(value) for value in sys.argv[1:]]
    asyncio.run(main(*(given + [1_000_000, 20, 50][len(given) :])))
