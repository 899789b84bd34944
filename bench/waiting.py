"""What processes that wait for an answer cost a server: memory, start-up, and the answer itself.

    .venv/bin/python bench/waiting.py [processes] [starts]

Starts servers on a folder with that many waiting processes and on an empty one, in turns, and
reports medians; then answers some of the questions, one after another.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

from mission_system import Caller, Envelope, Mission, OrchestratorSpec, Settings, ToolCatalog
from mission_system.core.capabilities import CapabilityRegistry
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.storage.lease import Lease

ANSWERS = 200
ASKS = """
from mission_system import OrchestratorSpec, hookimpl

async def asks(mission):
    return await mission.clarify("Which topic?")

@hookimpl
def register_orchestrators(context):
    return [OrchestratorSpec("asks", asks)]
"""
OPEN = "{ interrupts(first: 200) { nodes { interruptId } } }"
ANSWER = """
mutation ($id: ID!) { answerClarification(input: {interruptId: $id, answer: "billing"}) {
  ... on AnswerPayload { process { reply } } } }
"""


async def asks(mission: Mission) -> str:
    return await mission.clarify("Which topic?")


async def fill(data: Path, count: int) -> None:
    """Leave `count` processes that wait, each in a session of its own."""
    runtime = create_mission_runtime(ToolCatalog(), settings=Settings(data=data), use_mock=True)
    capabilities = CapabilityRegistry((OrchestratorSpec("asks", asks, max_concurrent=64),), "asks")
    async with Node(runtime, capabilities) as node:
        at_once = asyncio.Semaphore(256)

        async def ask(number: int) -> None:
            async with at_once:
                envelope = Envelope(caller=Caller(f"user{number // ANSWERS}"), message="hi")
                await node.tower.submit_request(envelope, wait=60)

        await asyncio.gather(*(ask(number) for number in range(count)))


@contextmanager
def server(folder: Path, data: Path) -> Iterator[tuple[str, float, float]]:
    """Its URL, how long it took to serve, in seconds, and its resident memory, in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "mission_system", "serve", "--port", "0", "--data", str(data)],
        env={**os.environ, "PYTHONPATH": str(folder / "plugins")},
        stderr=subprocess.DEVNULL,
    )
    try:
        while not ((holder := Lease.read(data)) and holder.url and holder.pid == process.pid):
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        assert httpx.get(f"{holder.url}/ready").status_code == 200
        time.sleep(0.5)
        yield holder.url, seconds, resident(process.pid)
    finally:
        process.terminate()
        process.wait()


def resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not tell of resident memory")


def answer(url: str) -> list[float]:
    """Seconds of each answer, from sending it to the reply of the process."""
    times = []
    with httpx.Client(headers={"X-Mission-User": "user0"}, timeout=60) as client:

        def execute(query: str, **variables: str) -> dict[str, Any]:
            body = {"query": query, "variables": variables}
            data: dict[str, Any] = client.post(f"{url}/graphql", json=body).json()["data"]
            return data

        for question in execute(OPEN)["interrupts"]["nodes"]:
            began = time.perf_counter()
            done = execute(ANSWER, id=question["interruptId"])
            times.append(time.perf_counter() - began)
            assert done == {"answerClarification": {"process": {"reply": "billing"}}}, done
    return times


def main(count: int, starts: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        info = folder / "plugins" / "bench_asks-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / "plugins" / "bench_asks.py").write_text(ASKS)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench_asks\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[mission_system]\nbench_asks = bench_asks\n")
        empty, full = folder / "empty", folder / "full"
        began = time.perf_counter()
        asyncio.run(fill(empty, 0))
        asyncio.run(fill(full, count))
        print(f"{count} processes wait after {time.perf_counter() - began:.1f} s")
        measured: dict[Path, list[tuple[float, float]]] = {empty: [], full: []}
        for _ in range(starts):
            for data, found in measured.items():
                with server(folder, data) as (_, seconds, memory):
                    found.append((seconds, memory))
        for what, position, unit in (("start-up", 0, "s"), ("resident", 1, "MiB")):
            without, beside = (
                median(each[position] for each in found) for found in measured.values()
            )
            print(
                f"{what:<10} empty {without:8.2f}, full {beside:8.2f},"
                f" difference {beside - without:6.2f} {unit}"
            )
        with server(folder, full) as (url, _, _):
            spread = quantiles(answer(url), n=100)
            print(f"answer     p50 {spread[49] * 1000:.1f} ms, p99 {spread[98] * 1000:.1f} ms")


if __name__ == "__main__":
    given = [int(number) for number in sys.argv[1:]]
    main(*given, *(10_000, 5)[len(given) :])
