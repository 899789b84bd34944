"""What `governance` and the metrics cost over a long history.

    .venv/bin/python -P bench/governance.py [calls] [tools] [questions]

Fills a database with sessions, messages, processes, events and usage of as many tool calls, rolls
these up as a server would, and asks GraphQL: all of it, and each part alone. Processor time is that
of this process, all threads, and hardly minds a busy machine. With
`MISSION_DATABASE_URL` that is an empty PostgreSQL database, which is left full; else SQLite.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import asyncpg

from mission_system import Settings, ToolCatalog
from mission_system.core.capabilities import CapabilityRegistry
from mission_system.core.clock import SECOND, Micros, now
from mission_system.core.identity import LOCAL
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.storage.database import Database
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tools.calls import DAY
from mission_system.core.tower.metrics import read_metrics
from mission_system.core.tower.model_usage import usage_by_model
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
DAYS = 365
CHUNK = 20_000  # calls stored in one unit
CALLS = 10  # of one process; a session has two processes, of one day
FIRST = 1000  # number of the first session: a server makes some streams of its own
ERROR = '{"type":"ToolFailed","args":["t","error","no",false]}'
CITED = '{"citations":[{"step":"0"},{"text":"found"}]}'

COLUMNS = {
    "stream": "id last_seq first_seq",
    "session": "id public_id user_id message_count created_at last_activity",
    "process": "pid session_id user_id capability version state priority epoch message input quota"
    " outcome message_id llm_calls tool_calls agent_hops iterations steps tokens_in tokens_out cost"
    " elapsed restarts restarted_at divergences depth first_seq created_at started_at completed_at",
    "message": "session_id pid role content data created_at",
    "event": "stream_id seq type pid user_id payload created_at",
    "step": "process_id key kind name digest status attempt output error large size created_at"
    " duration tokens_in tokens_out cost input_changed",
    "tool_call": "tool status started_at duration",
    "usage": "user_id session_id day processes llm_calls tool_calls tokens_in tokens_out cost"
    " elapsed",
    "model_usage": "user_id session_id day model calls tokens_in tokens_out cost",
}
Rows = dict[str, list[tuple[object, ...]]]


def history(first: int, last: int, calls: int, tools: int, end: Micros) -> Rows:
    """Calls `first` to `last` of so many, with all that belongs to them; each 20th fails, each
    500th is slow."""
    rows: Rows = {table: [] for table in COLUMNS}
    for n in range(first, last):
        at = end - (calls - n) * (DAYS * DAY // calls)
        number = n // CALLS
        session, pid, user = FIRST + number // 2, f"p{number:012}", f"user-{number % 100}"
        if n % (2 * CALLS) == 0:
            user = f"user-{number // 2 % 100}"
            rows["stream"].append((session, 6, 1))
            rows["session"].append((session, f"s{session}", user, 4, at, at))
            used = (2, 2, 2 * CALLS, 20, 20, 10, SECOND)
            rows["usage"].append((user, session, at // DAY, *used))
            model = f"acme/{session % 5}"
            rows["model_usage"].append((user, session, at // DAY, model, 2, 20, 20, 10))
        if n % CALLS == 0:
            replayed = 2 if number % 10 == 0 else 1
            counts = (1, CALLS, 0, 0, CALLS, 10, 10, 5, SECOND, 0, 0, 0, 0, 1)
            head = (pid, session, user, "bench", 1, "terminated", "normal", replayed, "hi", "{}")
            rows["process"].append((*head, "{}", "completed", 1, *counts, at, at, at))
            rows["message"].append((session, pid, "user", "hi", None, at))
            cited = CITED if number % 4 == 0 else None
            rows["message"].append((session, pid, "assistant", "done", cited, at))
            for seq, type in enumerate(("process.created", "tool.called", "process.completed")):
                seq += number % 2 * 3 + 1
                rows["event"].append((session, seq, type, pid, user, "{}", at))
        fails, tool = n % 20 == 0, f"tool_{n % tools}"
        duration = 6 * SECOND if n % 500 == 0 else 20_000
        status, error = ("failed", ERROR) if fails else ("completed", None)
        output = None if fails else '"found"'
        step = (pid, str(n % CALLS), "tool", tool, "", status, 1, output, error, False, 7)
        rows["step"].append((*step, at, duration, 0, 0, 0, False))
        rows["tool_call"].append((tool, "error" if fails else "success", at, duration))
    return rows


async def fill(node: Node, calls: int, tools: int) -> None:
    """A history of that many calls, spread over the last year."""
    end = now()
    for first in range(0, calls, CHUNK):
        rows = history(first, min(first + CHUNK, calls), calls, tools, end)

        async def unit(tx: Transaction, rows: Rows = rows) -> None:
            for table, columns in COLUMNS.items():
                names = columns.split()
                marks = ", ".join("?" * len(names))
                sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"
                await tx.execute_many(sql, rows[table])

        await node.database.write(unit)
        await node.roll_up.run()


async def vacuum(url: str) -> None:
    """As autovacuum does within a minute: all the calls that were rolled up are dead rows."""
    connection = await asyncpg.connect(url)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def timed(name: str, questions: int, ask: Callable[[], Awaitable[object]]) -> None:
    took, worked = list[float](), list[float]()
    for _ in range(questions):
        began, busy = time.perf_counter(), time.process_time()
        await ask()
        took.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - busy) * 1000)
    p99 = quantiles(took, n=100)[98] if len(took) > 1 else took[0]
    print(
        f"{name:16} p50 {median(took):7.1f} ms   p99 {p99:7.1f} ms   cpu {median(worked):6.1f} ms",
        flush=True,
    )


async def main(calls: int, tools: int, questions: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runtime = create_mission_runtime(
            ToolCatalog(), settings=Settings(data=Path(folder)), use_mock=True
        )
        schema = build_schema()
        async with Node(runtime, CapabilityRegistry()) as node:
            began = time.perf_counter()
            await fill(node, calls, tools)
            await node.chat.indexer.stop()  # it would run beside the questions
            if url := os.environ.get("MISSION_DATABASE_URL"):
                await vacuum(url)
            taken = time.perf_counter() - began
            kind = node.database.backend if isinstance(node.database, Database) else "?"
            print(f"{calls:,} calls of {tools} tools in {kind}, stored in {taken:.0f} s")
            for name, text in {"all of it": WHOLE, **PARTS}.items():

                async def ask(text: str = text) -> None:
                    node.alignment.forget()
                    result = await schema.execute(
                        f"{{ governance {{ {text} }} }}", context_value=Context(node, LOCAL)
                    )
                    assert not result.errors, result.errors

                await timed(name, questions, ask)
            await timed("metrics", questions, partial(read_metrics, node.database))
            await timed("models", questions, partial(usage_by_model, node.database))


if __name__ == "__main__":
    given = [int(value) for value in sys.argv[1:]]
    asyncio.run(main(*(given + [1_000_000, 20, 50][len(given) :])))
