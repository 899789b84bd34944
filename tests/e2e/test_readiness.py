"""`/ready` of a started server follows what it depends on, away and back; `/health` stays."""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tiny_model import write_tiny_model

from mission_system import Mission, OrchestratorSpec, hookimpl
from mission_system.core.settings import Settings
from mission_system.web.serve import serving

xllamacpp: Any = importlib.import_module("xllamacpp")  # has no types

SECONDS = 60.0


@pytest.fixture
def port() -> Iterator[int]:
    """A port for servers that come and go: no other program gets it between two of them."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))  # without listening: while there is no server, it is refused
        yield holder.getsockname()[1]


class Llama:
    """As much of a llama server as is asked: its health."""

    def __init__(self, port: int) -> None:
        self.status = "ok"
        self.port = port
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._answer, "127.0.0.1", self.port, reuse_port=True
        )

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = f'{{"status": "{self.status}"}}'.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()


async def ask(url: str, path: str) -> tuple[int, Any]:
    async with httpx.AsyncClient(timeout=SECONDS, verify=False) as client:
        answer = await client.get(f"{url}{path}")
    return answer.status_code, answer.json()


async def until(url: str, status: int, seen: Callable[[Any], bool] = lambda _: True) -> Any:
    """The body of `/ready` once it answers so; `/health` is 200 all the while."""
    async with asyncio.timeout(SECONDS):
        while True:
            found, body = await ask(url, "/ready")
            assert (await ask(url, "/health"))[0] == 200
            if found == status and seen(body):
                return body
            await asyncio.sleep(0.05)


@pytest.fixture
async def llama(monkeypatch: pytest.MonkeyPatch, port: int) -> AsyncIterator[Llama]:
    llama = Llama(port)
    await llama.start()
    monkeypatch.setenv("LLAMASERVER_HOST", f"http://127.0.0.1:{port}")
    yield llama
    await llama.stop()


async def test_readiness_follows_a_llama_server(tmp_path: Path, llama: Llama) -> None:
    settings = Settings(data=tmp_path, port=0, shutdown_seconds=0, llm_provider="llamaserver")
    async with serving(settings) as server:
        await until(server.url, 200)
        await llama.stop()
        body = await until(server.url, 503)
        assert body["components"]["models"]["message"] == "the llama server does not answer"
        assert body["components"]["database"]["status"] == "up"
        await llama.start()
        await until(server.url, 200, lambda body: body["status"] == "healthy")
        llama.status = "loading model"
        body = await until(server.url, 200, lambda body: body["status"] == "degraded")
        assert "loading model" in body["components"]["models"]["message"]


def llama_cpp(model: Path, port: int) -> Any:
    """A real llama server; it stops when it is let go of."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = 512
    params.n_parallel = 1
    params.port = port
    params.verbosity = 1
    return xllamacpp.Server(params)


async def test_readiness_follows_a_real_llama_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    model = tmp_path / "tiny.gguf"
    write_tiny_model(model)
    llama = await asyncio.to_thread(llama_cpp, model, port)
    monkeypatch.setenv("LLAMASERVER_HOST", llama.listening_address)
    settings = Settings(
        data=tmp_path / "data", port=0, shutdown_seconds=0, llm_provider="llamaserver"
    )
    async with serving(settings) as server:
        await until(server.url, 200, lambda body: body["status"] == "healthy")
        del llama
        body = await until(server.url, 503)
        assert body["components"]["models"]["message"] == "the llama server does not answer"
        llama = await asyncio.to_thread(llama_cpp, model, port)
        await until(server.url, 200, lambda body: body["status"] == "healthy")
        del llama


class Held:
    """A capability that runs until it is let go."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    @hookimpl
    def register_orchestrators(self) -> list[OrchestratorSpec]:
        async def held(mission: Mission) -> str:
            self.reached.set()
            await self.opened.wait()
            return "done"

        return [OrchestratorSpec("held", held)]


@asynccontextmanager
async def draining(folder: Path, held: Held) -> AsyncIterator[str]:
    """The address of a server that has been asked to stop, and finishes its work first."""
    asked, url = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def serve() -> None:
        settings = Settings(data=folder, port=0, shutdown_seconds=SECONDS)
        async with serving(settings, [held]) as server:
            url.set_result(server.url)
            await asked.wait()

    task = asyncio.create_task(serve())
    try:
        yield await url
        asked.set()
        await until(url.result(), 503, lambda body: "shutting down" in body["message"])
    finally:
        asked.set()
        held.opened.set()
        await task


async def test_a_server_that_drains_lives_and_takes_nothing_new(tmp_path: Path) -> None:
    held = Held()
    async with draining(tmp_path, held) as url:
        await until(url, 200)
        body = {"user_id": "ann", "user_message": "hi", "context": {"capability": "held"}}
        async with httpx.AsyncClient(timeout=SECONDS, verify=False) as client:
            sent = asyncio.create_task(client.post(f"{url}/api/v1/requests", json=body))
            await held.reached.wait()
            sent.cancel()
            await asyncio.gather(sent, return_exceptions=True)
