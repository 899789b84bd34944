"""What a turn costs: requests per second beside a floor, in one run, as ratios.

    .venv/bin/python bench/tower.py [rounds] [seconds per measurement]

The floor is Starlette and one committed INSERT a request. A turn is a whole `sendMessage` of an
orchestrator that only echoes: two units, GraphQL in and out. Both are servers in processes of their
own, called in turns over kept-alive connections by a client that does next to nothing. Rates depend
on the machine and on what else it does; the ratios, medians over the rounds, are what to compare.
Processor time is that of the whole server, all threads; it hardly minds a busy machine.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from mission_system.core.storage.lease import Lease

CALLERS = (1, 16, 64)
STEPS = 20

FLOOR = """
import socket, sys
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
listener = socket.socket(fileno=int(sys.argv[2]))
uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listener])
"""

PLUGIN = """
from mission_system import OrchestratorSpec, hookimpl

async def echo(mission):
    return mission.message

async def steps(mission):
    for _ in range(int(mission.message)):
        await mission.step("one", one)
    return mission.message

async def one() -> int:
    return 1

@hookimpl
async def runtime_started(context, runtime):
    global writer
    writer = runtime.persistence._writer

async def batches(mission):
    return f"{writer.units} {writer.batches}"

@hookimpl
def register_orchestrators(context):
    return [OrchestratorSpec(f.__name__, f, max_concurrent=1000) for f in (echo, steps, batches)]
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A process, and the port that it listens on."""

    pid: int
    port: int

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Target:
    """What is called: one request, the same again and again."""

    server: Server
    request: bytes

    @classmethod
    def of(cls, server: Server, path: str, body: str) -> Target:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return cls(server, (head + body).encode())


@dataclass(frozen=True, slots=True)
class Measured:
    rate: float  # requests per second
    processor: float  # seconds per request
    times: list[float]  # seconds

    def percentile(self, number: int) -> float:
        """In milliseconds."""
        return quantiles(self.times, n=100)[number - 1] * 1000


PROCESS = "process { pid sessionId state outcome reply }"


def graphql(server: Server, capability: str, text: str, fields: str = PROCESS) -> Target:
    query = (
        "mutation ($input: SendMessageInput!) { sendMessage(input: $input) {"
        f" ... on SendMessagePayload {{ {fields} }} }} }}"
    )
    variables = {"input": {"text": text, "capability": capability}}
    return Target.of(server, "/graphql", json.dumps({"query": query, "variables": variables}))


def graphql_and_session(server: Server, capability: str, text: str) -> Target:
    session = "session { sessionId messageCount lastActivity lastCursor }"
    return graphql(server, capability, text, f"{PROCESS} {session}")


def rest(server: Server, _capability: str, text: str) -> Target:
    """In a session of its own, like the others; the capability is the server's default one."""
    return Target.of(server, "/api/v1/chat/messages?user_id=local", json.dumps({"message": text}))


SURFACES = {
    "GraphQL": graphql,
    "GraphQL, session read back": graphql_and_session,
    "REST": rest,
}
"""Ways to ask for a turn; another surface is another line."""


def drive(target: Target, callers: int, seconds: float) -> Measured:
    """`callers` connections, each sending when its last request is answered."""
    polling = select.epoll()
    connections: dict[int, socket.socket] = {}
    sent: dict[int, float] = {}
    times: list[float] = []
    for _ in range(callers):
        connection = socket.create_connection(("127.0.0.1", target.server.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[connection.fileno()] = connection
        polling.register(connection, select.EPOLLIN)
    processor = target.server.processor_seconds()
    began = time.perf_counter()
    for number, connection in connections.items():
        sent[number] = time.perf_counter()
        connection.sendall(target.request)
    while sent:
        for number, _ in polling.poll():
            receive(connections[number])
            now = time.perf_counter()
            times.append(now - sent.pop(number))
            if now - began < seconds:
                sent[number] = now
                connections[number].sendall(target.request)
    took = time.perf_counter() - began
    processor = target.server.processor_seconds() - processor
    for connection in connections.values():
        connection.close()
    return Measured(len(times) / took, processor / len(times), times)


def receive(connection: socket.socket) -> bytes:
    """The body of one answer, which must be a good one."""
    answer = connection.recv(65536)
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    if b" 200 " not in head[:16] or b'"errors"' in body:
        raise SystemExit(f"{head!r} {body!r}")
    return body


@contextmanager
def servers(folder: Path) -> Iterator[tuple[Server, Server]]:
    """The floor and ours."""
    plugins = folder / "plugins"
    info = plugins / "bench_tower-1.0.dist-info"
    info.mkdir(parents=True)
    (plugins / "bench_tower.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench_tower\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mission_system]\nbench_tower = bench_tower\n")
    data = folder / "data"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        floor = subprocess.Popen(
            [sys.executable, "-c", FLOOR, folder / "floor.sqlite3", str(listener.fileno())],
            pass_fds=[listener.fileno()],
        )
        mission = subprocess.Popen(
            [sys.executable, "-m", "mission_system", "serve", "--port", "0", "--data", data],
            env={
                **os.environ,
                "PYTHONPATH": str(plugins),
                "MISSION_DEFAULT_CAPABILITY": "echo",
            },
            stderr=subprocess.DEVNULL,
        )
        try:
            while not ((holder := Lease.read(data)) and holder.url):
                time.sleep(0.05)
            port = int(holder.url.rsplit(":", 1)[1])
            yield Server(floor.pid, listener.getsockname()[1]), Server(mission.pid, port)
        finally:
            for server in (floor, mission):
                server.terminate()
                server.wait()


def written(server: Server) -> tuple[int, int]:
    """Units and batches that the server has committed."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(graphql(server, "batches", "?").request)
        answer = json.loads(receive(connection))
    units, batches = answer["data"]["sendMessage"]["process"]["reply"].split()
    return int(units), int(batches)


HEADER = "callers  floor/s  turns/s  ratio   p50 ms   p99 ms  cpu us  cpu ratio  units/batch"


def compare(floor: Target, turn: Target, callers: int, rounds: int, seconds: float) -> str:
    """One line of the report."""
    floors, turns = [], []
    units, batches = written(turn.server)
    for _ in range(rounds):
        floors.append(drive(floor, callers, seconds))
        turns.append(drive(turn, callers, seconds))
    after = written(turn.server)
    ratios = [turn.rate / floor.rate for floor, turn in zip(floors, turns, strict=True)]
    processor = median(turn.processor for turn in turns)
    return (
        f"{callers:>7} {median(floor.rate for floor in floors):>8.0f}"
        f" {median(turn.rate for turn in turns):>8.0f} {median(ratios):>6.3f}"
        f" {median(turn.percentile(50) for turn in turns):>8.2f}"
        f" {median(turn.percentile(99) for turn in turns):>8.2f}"
        f" {processor * 1e6:>7.0f}"
        f" {median(floor.processor for floor in floors) / processor:>10.3f}"
        f" {(after[0] - units) / max(1, after[1] - batches):>12.1f}"
    )


def step_cost(server: Server, callers: int, rounds: int, seconds: float) -> tuple[float, float]:
    """Milliseconds, and those of them on the processor, that one step adds to a turn."""
    costs = []
    for _ in range(rounds):
        without, beside = (
            drive(graphql(server, "steps", str(number)), callers, seconds) for number in (0, STEPS)
        )
        costs.append((1 / beside.rate - 1 / without.rate, beside.processor - without.processor))
    wall, processor = (median(cost) / STEPS * 1000 for cost in zip(*costs, strict=True))
    return wall, processor


def main(rounds: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder)) as (plain, mission):
        floor = Target.of(plain, "/floor", json.dumps({"text": "hi"}))
        drive(floor, 4, 1.0)
        for surface, target in SURFACES.items():
            turn = target(mission, "echo", "hi")
            drive(turn, 4, 1.0)
            print(f"{surface}, medians of {rounds} rounds")
            print(HEADER)
            for callers in CALLERS:
                print(compare(floor, turn, callers, rounds, seconds), flush=True)
        for callers in CALLERS[:2]:
            wall, processor = step_cost(mission, callers, rounds, seconds)
            print(f"a journaled step, {callers:>2} callers: {wall:.3f} ms, {processor:.3f} on cpu")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 7,
        float(sys.argv[2]) if len(sys.argv) > 2 else 1.0,
    )
