"""A server that is really started, on a socket, in a thread of its own; and raw ways to call it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Route

from mission_system import (
    Mission,
    MissionRuntime,
    OrchestratorSpec,
    ToolFailed,
    ToolSpec,
    hookimpl,
    tool,
)
from mission_system.core.settings import Settings
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tower.process import Quota
from mission_system.web.serve import serving

T = TypeVar("T")
CLIENT = Path(__file__).with_name("client.html")
SECONDS = 60.0  # a guard against hanging, wide enough for a busy machine


@tool(risk="read_only", timeout=10)
async def look_up(word: str) -> str:
    """Find what a word means."""
    return f"{word} means {word}"


WRITTEN: list[str] = []


@tool(risk="write", timeout=10)
async def write_down(text: str) -> str:
    """Keep a text."""
    WRITTEN.append(text)
    return f"wrote {text}"


def measured(number: int) -> ToolSpec:
    """A tool that does as it is told, for a test of its own."""

    @tool(name=f"measured_{number}", risk="read_only", timeout=10)
    async def work(fail: bool) -> str:
        """Succeed, or <b>fail</b>."""
        if fail:
            raise ValueError("told to fail")
        return "done"

    return work


MEASURED = [measured(number) for number in range(10)]


async def worker(mission: Mission) -> str:
    """`measured_1 19 1`: nineteen calls that succeed, and one that fails."""
    name, good, bad = mission.message.split()
    for number in range(int(good) + int(bad)):
        with suppress(ToolFailed):
            await getattr(mission.tools, name)(fail=number >= int(good))
    return "worked"


@dataclass
class Gates:
    """What the capability `held` waits for: each message is a gate that a test opens."""

    reached: dict[str, threading.Event] = field(default_factory=dict)
    opened: dict[str, threading.Event] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    def gate(self, name: str) -> None:
        self.reached[name] = threading.Event()
        self.opened[name] = threading.Event()

    async def hold(self, mission: Mission) -> str:
        name = mission.message
        self.runs.append(name)
        if name in self.opened:
            self.reached[name].set()
            while not self.opened[name].is_set():
                await asyncio.sleep(0.01)
        return f"held {name}"


async def interview(mission: Mission) -> str:
    first = await mission.clarify("First?")
    second = await mission.clarify("Second?")
    return f"{first} and {second}"


async def scholar(mission: Mission) -> str:
    async with mission.stage("reader"):
        return str(await mission.tools.look_up(word=mission.message))


async def greedy(mission: Mission) -> str:
    for _ in range(100):
        await mission.tools.look_up(word="again")
    return "never"


async def broken(mission: Mission) -> str:
    raise RuntimeError("SELECT secret FROM /etc/passwd")


async def parent(mission: Mission) -> str:
    """Asks through a child."""
    return f"the child said: {(await mission.spawn('interview', 'x')).text}"


async def foreman(mission: Mission) -> str:
    """Has another hold the gate."""
    return (await mission.spawn("held", mission.message)).text


async def several(mission: Mission) -> str:
    """Asks everything at once: a confirmation for `?`, else a clarification."""
    asked = (
        mission.confirm(word) if word.endswith("?") else mission.clarify(word)
        for word in mission.message.split()
    )
    return " ".join(str(each) for each in await mission.gather(*asked))


async def parents(mission: Mission) -> str:
    """Asks through two children at once."""
    asked = (mission.spawn("interview", "x") for _ in range(2))
    return "; ".join(each.text for each in await mission.gather(*asked))


async def clerk(mission: Mission) -> str:
    """Does what nobody may do unasked."""
    written: str = await mission.tools.write_down(text=mission.message)
    return written


async def taciturn(mission: Mission) -> str:
    """Asks, and says nothing whatever the answer."""
    await mission.confirm("Sure?")
    return ""


async def reviewer(mission: Mission) -> str:
    """Asks what a person is to look at."""
    return f"reviewed: {await mission.review('Look at this')}"


async def checkpointer(mission: Mission) -> str:
    await mission.checkpoint("Go on?")
    return "went on"


CAPABILITIES = (
    *(interview, scholar, greedy, broken, parent, worker, clerk),
    *(taciturn, reviewer, checkpointer, foreman, several, parents),
)


class Plugin(ModuleType):
    """The capabilities that these tests need beside the built-in one, and the server's runtime."""

    def __init__(self) -> None:
        super().__init__("contract_plugin")
        self.gates = gates = Gates()
        self.runtime: MissionRuntime

        @hookimpl
        def register_tools() -> Sequence[ToolSpec]:
            return [look_up, write_down, *MEASURED]

        @hookimpl
        def register_orchestrators() -> Sequence[OrchestratorSpec]:
            return [
                OrchestratorSpec("held", gates.hold, max_concurrent=1000),
                OrchestratorSpec(
                    "asking", greedy, quota=Quota(max_tool_calls=2, on_exhausted="ask")
                ),
                *(OrchestratorSpec(f.__name__, f) for f in CAPABILITIES),
            ]

        @hookimpl
        def register_routes() -> Sequence[BaseRoute]:
            return [Route("/client.html", lambda _request: FileResponse(CLIENT))]

        @hookimpl
        async def runtime_started(runtime: MissionRuntime) -> None:
            self.runtime = runtime

        self.register_tools = register_tools
        self.register_orchestrators = register_orchestrators
        self.register_routes = register_routes
        self.runtime_started = runtime_started


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as it came over the wire; names of headers are in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, found
        return found[0] if found else None


@dataclass(frozen=True)
class Served:
    url: str
    plugin: Plugin
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event

    @property
    def gates(self) -> Gates:
        return self.plugin.gates

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    @property
    def websocket(self) -> str:
        return f"ws{self.url.removeprefix('http')}/ws"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives, run where the server runs."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(SECONDS)

    def begin_to_stop(self) -> None:
        """Returns at once: the server drains, as long as its settings let it."""
        self.loop.call_soon_threadsafe(self.stop.set)

    def execute(self, sql: str, *params: object) -> None:
        """Change what is stored behind the server's back."""

        async def unit(tx: Transaction) -> None:
            await tx.execute(sql, params)

        self.run(self.plugin.runtime.persistence.write(unit))

    def token(self, user: str, **more: Any) -> str:
        """A new token of this user."""
        from mission_system.core.tokens.service import TokenService

        service = TokenService(self.plugin.runtime.persistence)
        return self.run(service.create(user, **more))[1]

    def raw(
        self, method: str, target: str, *headers: str, body: bytes = b"", host: str | None = None
    ) -> Answer:
        """One request made of these very characters, on a connection of its own."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or self.address[0]}", *headers]
        if body and not any(line.lower().startswith("transfer-encoding") for line in headers):
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        with socket.create_connection(self.address, SECONDS) as connection:
            connection.sendall(head + body)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        top, _, content = received.partition(b"\r\n\r\n")
        status, *fields = top.decode("latin-1").split("\r\n")
        parted = [line.partition(":") for line in fields]
        return Answer(
            int(status.split()[1]),
            [(name.strip().lower(), value.strip()) for name, _, value in parted],
            content,
        )


@contextmanager
def served(folder: Path, **changed: Any) -> Iterator[Served]:
    """A server on this folder, from its start to its end."""
    settings = Settings(**{"data": folder, "port": 0, "shutdown_seconds": 0} | changed)
    plugin = Plugin()
    started = threading.Event()
    found: list[Served] = []
    failures: list[BaseException] = []

    async def serve() -> None:
        async with serving(settings, [plugin]) as running:
            stop = asyncio.Event()
            found.append(Served(running.url, plugin, asyncio.get_running_loop(), stop))
            started.set()
            await stop.wait()

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=work, name="served", daemon=True)
    thread.start()
    assert started.wait(SECONDS)
    try:
        if failures:
            raise failures[0]
        [server] = found
        yield server
    finally:
        for gate in list(plugin.gates.opened.values()):
            gate.set()
        if found:
            with suppress(RuntimeError):  # its loop has ended
                found[0].begin_to_stop()
        thread.join(SECONDS)
        assert not thread.is_alive()
        if failures and found:
            raise failures[0]
