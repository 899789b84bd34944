"""Servers in processes of their own, to be killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from mission_system.core.storage.lease import Lease

START_SECONDS = 30.0


class Server:
    """`mission serve` on a data folder; killed and started again as a test likes."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.data = folder / "data"
        self._log = (folder / "server.log").open("ab")
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MISSION_")}
        self._environ = {**kept, "PYTHONPATH": str(folder / "plugins"), **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> Server:
        arguments = ["serve", "--port", "0", "--data", str(self.data)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mission_system", *arguments],
            env=self._environ,
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.log()
            holder = Lease.read(self.data)
            if holder and holder.url and holder.pid == self._process.pid:
                self.url = holder.url
                return self
            time.sleep(0.02)
        raise AssertionError(f"the server did not start: {self.log()}")

    def kill(self) -> None:
        """As a power cut would: no signal handler, no flush."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """As an operator would; the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def log(self) -> str:
        return Path(self._log.name).read_text()

    async def execute(self, document: str, user: str = "ann", **variables: Any) -> dict[str, Any]:
        """The `data` of a query or mutation."""
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(
                f"{self.url}/graphql",
                json={"query": document, "variables": variables},
                headers={"X-Mission-User": user},
            )
        body = answer.json()
        assert "errors" not in body, body
        data: dict[str, Any] = body["data"]
        return data

    @asynccontextmanager
    async def subscribe(
        self, document: str, user: str = "ann", **variables: Any
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The results of a subscription over graphql-transport-ws, until left or cut off."""
        async with connect(
            self.url.replace("http", "ws") + "/graphql",
            subprotocols=[Subprotocol("graphql-transport-ws")],
            additional_headers={"X-Mission-User": user},
        ) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            payload = {"query": document, "variables": variables}
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


def install_plugin(folder: Path, name: str, source: str) -> None:
    """Make a distribution with one plugin importable from `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mission_system]\n{name} = {name}\n")


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes a server, not yet started, that serves a plugin of this source."""
    servers: list[Server] = []

    def make(plugin: str, **settings: str) -> Server:
        install_plugin(tmp_path / "plugins", "tested", plugin)
        servers.append(Server(tmp_path, settings))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()
