"""What a turn costs: requests per second beside a floor, in one run, as ratios.

    .venv/bin/python bench/turns.py [requests per measurement]

The floor is Starlette and one committed INSERT a request. A turn is a whole `sendMessage` of an
orchestrator that only echoes: two units, GraphQL in and out. Both are servers in processes of their
own, called over kept-alive connections by a client that does nothing else. Rates depend on the
machine; the ratios are what to compare.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles

from mission_system.core.storage.lease import Lease

CALLERS = (1, 16, 64)

FLOOR = """
import sys
import aiosqlite, uvicorn
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

@asynccontextmanager
async def lifespan(app):
    app.state.db = await aiosqlite.connect(sys.argv[1], isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        await app.state.db.execute(f"PRAGMA {pragma}")
    await app.state.db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
    yield
    await app.state.db.close()

async def insert(request):
    body = await request.body()
    await request.app.state.db.execute("INSERT INTO t (body) VALUES (?)", (body.decode(),))
    return JSONResponse({"ok": True})

app = Starlette(routes=[Route("/floor", insert, methods=["POST"])], lifespan=lifespan)
uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
"""

ECHO = """
from mission_system import OrchestratorSpec, hookimpl

async def echo(mission):
    return mission.message

@hookimpl
def register_orchestrators(context):
    return [OrchestratorSpec("echo", echo, max_concurrent=1000)]
"""

TURN = json.dumps(
    {
        "query": 'mutation { sendMessage(input: {text: "hi", capability: "echo"}) {'
        " ... on SendMessagePayload { process { pid state outcome reply } session { sessionId } }"
        " } }"
    }
)


async def call(host: str, port: int, path: str, body: str, count: int, times: list[float]) -> None:
    """`count` requests over one connection, each answered before the next."""
    reader, writer = await asyncio.open_connection(host, port)
    request = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    for _ in range(count):
        began = time.perf_counter()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise SystemExit(f"{path}: {head!r}")
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        answer = await reader.readexactly(length)
        if b"errors" in answer:
            raise SystemExit(f"{path}: {answer!r}")
        times.append(time.perf_counter() - began)
    writer.close()


async def measure(port: int, path: str, body: str, callers: int, total: int) -> tuple[float, list]:
    await call("127.0.0.1", port, path, body, 50, [])
    times: list[float] = []
    began = time.perf_counter()
    await asyncio.gather(
        *(call("127.0.0.1", port, path, body, total // callers, times) for _ in range(callers))
    )
    return len(times) / (time.perf_counter() - began), quantiles(times, n=100)


def wait_for(port: int) -> None:
    import socket

    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 0.1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the floor did not start")


def start(folder: Path) -> tuple[list[subprocess.Popen[bytes]], int, int]:
    plugins = folder / "plugins"
    info = plugins / "bench_echo-1.0.dist-info"
    info.mkdir(parents=True)
    (plugins / "bench_echo.py").write_text(ECHO)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench_echo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mission_system]\nbench_echo = bench_echo\n")
    data = folder / "data"
    mission = subprocess.Popen(
        [sys.executable, "-m", "mission_system", "serve", "--port", "0", "--data", str(data)],
        env={**os.environ, "PYTHONPATH": str(plugins)},
        stderr=subprocess.DEVNULL,
    )
    floor_port = 18431
    floor = subprocess.Popen(
        [sys.executable, "-c", FLOOR, str(folder / "floor.sqlite3"), str(floor_port)]
    )
    wait_for(floor_port)
    while not ((holder := Lease.read(data)) and holder.url):
        time.sleep(0.05)
    return [mission, floor], floor_port, int(holder.url.rsplit(":", 1)[1])


async def main(total: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        servers, floor_port, port = start(Path(folder))
        try:
            print(f"{'callers':>8} {'floor/s':>9} {'turns/s':>9} {'ratio':>6}  p50 ms  p99 ms")
            for callers in CALLERS:
                floor, _ = await measure(floor_port, "/floor", TURN, callers, total)
                turns, spread = await measure(port, "/graphql", TURN, callers, total)
                print(
                    f"{callers:>8} {floor:>9.0f} {turns:>9.0f} {turns / floor:>6.2f}"
                    f" {spread[49] * 1000:>7.2f} {spread[98] * 1000:>7.2f}"
                )
        finally:
            for server in servers:
                server.terminate()
                server.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
