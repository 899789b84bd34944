"""What benches share: servers in processes of their own, and a client that does next to nothing.

Rates depend on the machine and on what else it does. What to compare are ratios to a floor that is
measured in turns with the server, medians over the rounds, and processor time, which is that of the
whole server, all threads, and hardly minds a busy machine.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan
from pathlib import Path
from statistics import median, quantiles

from mission_system.core.storage.lease import Lease

FLOOR = Path(__file__).parent / "floor.py"
ECHO = """
from mission_system import OrchestratorSpec, hookimpl

async def echo(mission):
    return mission.message

@hookimpl
def register_orchestrators(context):
    return [OrchestratorSpec("echo", echo, max_concurrent=1000)]
"""
"""A plugin whose capability `echo` repeats what it is told."""


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
    def of(cls, server: Server, path: str, body: str, method: str = "POST") -> Target:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n\r\n"
        )
        return cls(server, (head + body).encode())


@dataclass(frozen=True, slots=True)
class Measured:
    rate: float  # requests per second
    processor: float  # seconds per request
    times: list[float]  # seconds

    def percentile(self, number: int) -> float:
        """In milliseconds."""
        if len(self.times) == 1:  # on a slow machine
            return self.times[0] * 1000
        return quantiles(self.times, n=100)[number - 1] * 1000


def graphql(server: Server, query: str, **variables: object) -> Target:
    return Target.of(server, "/graphql", json.dumps({"query": query, "variables": variables}))


def drive(target: Target, callers: int, seconds: float) -> Measured:
    """`callers` connections, each sending when its last request is answered."""
    polling = select.epoll()
    connections: dict[int, socket.socket] = {}
    sent: dict[int, float] = {}
    times: list[float] = []
    for _ in range(callers):
        connection = connect(target.server)
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


def connect(server: Server) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def call(target: Target) -> bytes:
    """The body of one answer."""
    with connect(target.server) as connection:
        connection.sendall(target.request)
        return receive(connection)


def receive(connection: socket.socket) -> bytes:
    """The body of one answer, which must be a good one."""
    answer = _more(connection)
    while b"\r\n\r\n" not in answer:
        answer += _more(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += _more(connection)
    if not head.startswith(b"HTTP/1.1 2") or b'"errors"' in body:
        raise SystemExit(f"{head!r} {body!r}")
    return body


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    if not received:
        raise SystemExit("the server has closed a connection")
    return received


@contextmanager
def floor(folder: Path) -> Iterator[Server]:
    """`floor.py`, at work."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        number = listener.fileno()
        process = subprocess.Popen(
            [sys.executable, FLOOR, folder / "floor.sqlite3", str(number)], pass_fds=[number]
        )
        with _ending(process):
            yield Server(process.pid, listener.getsockname()[1])


@contextmanager
def mission(folder: Path, plugin: str = "", **settings: str) -> Iterator[Server]:
    """Ours, on a data folder of its own, with a plugin of this source and these settings, such as
    `MISSION_DEFAULT_CAPABILITY="echo"`."""
    plugins, data = folder / "plugins", folder / "data"
    info = plugins / "bench_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (plugins / "bench_plugin.py").write_text(plugin)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench_plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mission_system]\nbench_plugin = bench_plugin\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "mission_system", "serve", "--port", "0", "--data", data],
        env={**os.environ, "PYTHONPATH": str(plugins), **settings},
        stderr=subprocess.DEVNULL,
    )
    with _ending(process):
        while not ((holder := Lease.read(data)) and holder.url):
            if process.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.05)
        yield Server(process.pid, int(holder.url.rsplit(":", 1)[1]))


@contextmanager
def _ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait()


HEADER = "callers  floor/s   ours/s  ratio   aim   p50 ms   p99 ms  cpu us  cpu ratio"


def compare(
    floor: Target,
    ours: Target,
    callers: int,
    rounds: int,
    seconds: float,
    aim: float | None = None,
) -> str:
    """One line of a report, under `HEADER`. `aim` is the least ratio that is wanted of an idle
    machine; a report says it and does not judge by it."""
    floors, measured = [], []
    for _ in range(rounds):
        floors.append(drive(floor, callers, seconds))
        measured.append(drive(ours, callers, seconds))
    ratios = [mine.rate / least.rate for least, mine in zip(floors, measured, strict=True)]
    processor = median(mine.processor for mine in measured)
    return (
        f"{callers:>7} {median(least.rate for least in floors):>8.0f}"
        f" {median(mine.rate for mine in measured):>8.0f} {median(ratios):>6.3f}"
        f" {aimed(aim)}"
        f" {median(mine.percentile(50) for mine in measured):>8.2f}"
        f" {median(mine.percentile(99) for mine in measured):>8.2f}"
        f" {processor * 1e6:>7.0f}"
        f" {shared(median(least.processor for least in floors), processor):>10.3f}"
    )


def aimed(aim: float | None) -> str:
    """An aim in its column, which is empty where there is none."""
    return f"{'' if aim is None else f'{aim:.2f}':>5}"


def shared(least: float, ours: float) -> float:
    """The part of our processor time that the floor takes; NaN where the clock, which ticks a
    hundred times a second, has seen none of it."""
    return least / ours if ours else nan


def length(rounds: int, seconds: float) -> tuple[int, float]:
    """Rounds, and seconds of each measurement, as the command line says them, else as given."""
    given = sys.argv[1:]
    return (
        int(given[0]) if given else rounds,
        float(given[1]) if len(given) > 1 else seconds,
    )
