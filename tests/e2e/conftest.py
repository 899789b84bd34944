"""A command line and servers that really run, each in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from databases import ChosenDatabases
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from mission_system.core.storage.lease import Lease

MISSION = [sys.executable, "-m", "mission_system"]
TRIALS = Path(__file__).with_name("trials.py")
SECONDS = 90.0  # a guard against hanging, wide enough for a busy machine


@dataclass
class Cli:
    """Runs `mission` with the data folder and the plugins of one test."""

    folder: Path
    database: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "plugins").mkdir()
        self.install("acme_trials", TRIALS.read_text())

    def install(self, name: str, source: str) -> None:
        """Put a distribution with one plugin where the commands look for such."""
        folder = self.folder / "plugins"
        (folder / f"{name}.py").write_text(source)
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mission_system]\n{name} = {name}\n")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def environ(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MISSION_")}
        return {
            **kept,
            "PYTHONPATH": str(self.folder / "plugins"),
            "MISSION_DATA": str(self.data),
            **self.database,
            **self.environment,
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MISSION, *arguments],
            env={**self.environ, **environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*MISSION, *arguments],
            env=self.environ,
            cwd=self.folder,
            text=True,
            start_new_session=True,
            **options,
        )

    def made(self, *arguments: str) -> Server:
        """A server that has yet to be started."""
        return Server(self, arguments)

    @contextlib.contextmanager
    def server(self, *arguments: str) -> Iterator[Server]:
        """A server that has started; left, none of its processes runs any more."""
        server = self.made(*arguments)
        try:
            yield server.start()
        finally:
            server.kill()

    @contextlib.contextmanager
    def at_terminal(self, *arguments: str) -> Iterator[Terminal]:
        """A command whose input, output and errors are one terminal."""
        ours, theirs = os.openpty()
        process = self.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(SECONDS)
            os.close(ours)

    def process(self, pid: str) -> dict[str, Any]:
        """What the running server says of a process."""
        holder = Lease.read(self.data)
        assert holder is not None
        assert holder.url is not None
        query = "query($id: ID!) { process(id: $id) { state outcome } }"
        process: dict[str, Any] = asyncio.run(execute(holder.url, query, id=pid))["process"]
        return process


class Server:
    """`mission serve` on the data folder of a command line; killed and started again as a test
    likes. It takes any free port, another one at each start."""

    def __init__(self, cli: Cli, arguments: tuple[str, ...]) -> None:
        self._cli = cli
        self._arguments = arguments
        self.process: subprocess.Popen[str]
        self.log = cli.folder / "server.log"
        self.url = ""

    def spawn(self) -> None:
        """Begin to start."""
        with self.log.open("a") as log:
            arguments = ("serve", "--port", "0", *self._arguments)
            self.process = self._cli.start(*arguments, stdout=log, stderr=log)

    def start(self) -> Self:
        """Returns once it serves."""
        self.spawn()
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            holder = Lease.read(self._cli.data)
            if holder and holder.url and holder.pid == self.process.pid:
                self.url = holder.url
                return self
            time.sleep(0.02)
        code, log = self.process.poll(), self.log.read_text()
        raise AssertionError(f"no server on {self._cli.data}, exit code {code}: {log}")

    def kill(self) -> None:
        """As a power cut would: no signal handler, no flush."""
        self.process.kill()
        self.process.wait(SECONDS)

    def ask_to_stop(self) -> None:
        """Returns when it says that it stops."""
        self.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + SECONDS
        while "server.stopping" not in self.events:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    @property
    def events(self) -> list[str]:
        """What the log tells of, line by line."""
        return [json.loads(line)["event"] for line in self.log.read_text().splitlines()]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=SECONDS) as answer:
            return json.load(answer)

    async def execute(self, query: str, user: str = "ann", **variables: Any) -> dict[str, Any]:
        """The `data` of a query or mutation."""
        return await execute(self.url, query, user, **variables)

    @contextlib.contextmanager
    def stream(self, query: str, **variables: Any) -> Iterator[Iterator[str]]:
        """The lines of a subscription, as server-sent events."""
        body = {"query": query, "variables": variables}
        headers = {"Accept": "text/event-stream", "X-Mission-User": "ann"}
        url = f"{self.url}/graphql"
        with httpx.stream("POST", url, json=body, headers=headers, timeout=SECONDS) as answer:
            yield answer.iter_lines()

    @contextlib.asynccontextmanager
    async def subscribe(
        self, query: str, user: str = "ann", **variables: Any
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The results of a subscription over graphql-transport-ws, until left or cut off."""
        async with connect(
            self.url.replace("http", "ws") + "/graphql",
            subprotocols=[Subprotocol("graphql-transport-ws")],
            additional_headers={"X-Mission-User": user},
        ) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            payload = {"query": query, "variables": variables}
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))

            async def results() -> AsyncIterator[dict[str, Any]]:
                while True:
                    message = json.loads(await socket.recv())
                    assert message["type"] in ("next", "complete", "ping"), message
                    if message["type"] == "complete":
                        return
                    if message["type"] == "next":
                        assert "errors" not in message["payload"], message
                        yield message["payload"]["data"]

            yield results()


@dataclass
class Terminal:
    process: subprocess.Popen[str]
    side: int
    seen: str = ""

    def process_at(self, text: str) -> str:
        """The pid that the command names before it writes `text`."""
        found = re.search(r"process ([0-9a-f-]+)", self.read_until(text))
        assert found
        return found[1]

    def read_until(self, text: str) -> str:
        """Everything up to and with `text`, which must come; later reads go on after it."""
        deadline = time.monotonic() + SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.seen!r}"
            if select.select([self.side], [], [], 0.2)[0]:
                self.seen += self._read()
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def type(self, text: str) -> None:
        os.write(self.side, text.encode())

    def end(self) -> tuple[int, str]:
        """The exit code, and everything that was not read yet."""
        rest = self.seen
        while piece := self._read():
            rest += piece
        return self.process.wait(SECONDS), rest

    def _read(self) -> str:
        try:
            return os.read(self.side, 4096).decode()
        except OSError:  # how Linux says that the other side of a terminal is closed
            return ""


async def execute(
    url: str, query: str, user: str | None = None, **variables: Any
) -> dict[str, Any]:
    """The `data` of a query or mutation. `user` None is the person at this machine.

    Raises:
        httpx.HTTPError: no answer, or none of a server that serves.
    """
    headers = {} if user is None else {"X-Mission-User": user}
    # Reading the certificates of the world would take longer than the call.
    async with httpx.AsyncClient(timeout=SECONDS, verify=False) as client:
        answer = await client.post(
            f"{url}/graphql", json={"query": query, "variables": variables}, headers=headers
        )
    answer.raise_for_status()
    body = answer.json()
    assert "errors" not in body, body
    data: dict[str, Any] = body["data"]
    return data


@pytest.fixture
def cli(tmp_path: Path, databases: ChosenDatabases) -> Cli:
    """A command line with a data folder of its own, and no server yet."""
    return Cli(tmp_path, databases.environment(tmp_path / "data"))


@pytest.fixture(scope="module")
def module_cli(tmp_path_factory: pytest.TempPathFactory, databases: ChosenDatabases) -> Cli:
    """The same for all tests of a module."""
    folder = tmp_path_factory.mktemp("module")
    return Cli(folder, databases.environment(folder / "data"))


@pytest.fixture(scope="module")
def shared(module_cli: Cli) -> Iterator[Cli]:
    """A command line beside a running server, for tests that leave it running."""
    with module_cli.server():
        yield module_cli
