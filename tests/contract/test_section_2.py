"""Section 2: root and probes."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from databases import ChosenDatabases

from mission_system import __version__

from .conftest import Json, client_of, refused
from .served import SECONDS, Served, served

UNTIL_STARTED = [
    ("GET", "/api/v1/metrics"),
    ("GET", "/api/v1/requests/x/status"),
    ("POST", "/api/v1/requests"),
    ("POST", "/api/v1/confirmations"),
    ("POST", "/api/v1/chat/clarifications"),
    ("POST", "/api/v1/chat/messages"),
    ("GET", "/api/v1/chat/sessions"),
    ("GET", "/api/v1/governance/health"),
]
COMPONENT = {"status", "message", "latency_ms", "last_check"}


def probe(answer: httpx.Response, status: int) -> Json:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: Json = answer.json()
    assert set(body) == {"status", "timestamp", "uptime_seconds", "version", "components"}
    assert body["status"] in ("healthy", "degraded", "unhealthy")
    assert datetime.fromisoformat(body["timestamp"]).utcoffset() is not None
    assert isinstance(body["uptime_seconds"], float)
    assert body["uptime_seconds"] >= 0
    assert body["version"] == __version__
    for component in body["components"].values():
        assert set(component) == COMPONENT
        assert component["status"] in ("up", "down", "degraded")
        for name, type in (("message", str), ("latency_ms", float), ("last_check", str)):
            assert component[name] is None or isinstance(component[name], type)
    return body


def test_2_the_root_tells_where_everything_is(server: Served, http: httpx.Client) -> None:
    answer = http.get("/")
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) - {"ui"} == {
        *("service", "version", "description", "health", "ready", "api", "websocket"),
        *("api_docs", "governance"),
    }
    for name in ("service", "version", "description"):
        assert isinstance(body[name], str)
        assert body[name]
    assert (body["health"], body["ready"], body["websocket"]) == ("/health", "/ready", "/ws")
    assert body["api"] == {
        "requests": "/api/v1/requests",
        "request_status": "/api/v1/requests/{pid}/status",
        "metrics": "/api/v1/metrics",
    }
    assert body["api_docs"] == "/docs"
    assert body["governance"] == "/api/v1/governance/dashboard"
    for path in (
        body["health"],
        body["ready"],
        body["api_docs"],
        body["governance"],
        *body.get("ui", {}).values(),
    ):
        assert http.get(path).status_code == 200


def test_2_liveness_has_the_one_component_api(http: httpx.Client) -> None:
    body = probe(http.get("/health"), 200)
    assert body["status"] == "healthy"
    assert set(body["components"]) == {"api"}
    assert body["components"]["api"]["status"] == "up"


def test_2_liveness_is_the_same_whichever_way_it_is_asked_for(server: Served) -> None:
    for header in ("Accept: */*", f"Origin: http://{server.address[0]}"):
        answer = server.raw("GET", "/health?x=y", header)
        probe(httpx.Response(answer.status, headers=answer.headers, content=answer.body), 200)
        assert answer.header("x-content-type-options") == "nosniff"
        assert server.raw("HEAD", "/health", header).body == b""
    assert server.raw("GET", "/health", "Origin: https://elsewhere.example").status == 403
    assert server.raw("GET", "/health", host="any.example").status == 200


def test_2_readiness_has_the_database_and_the_models(http: httpx.Client) -> None:
    body = probe(http.get("/ready"), 200)
    assert body["status"] == "healthy"
    assert {"database", "models"} <= set(body["components"])
    assert {each["status"] for each in body["components"].values()} == {"up"}


def test_2_uptime_grows(http: httpx.Client) -> None:
    first = probe(http.get("/health"), 200)["uptime_seconds"]
    assert probe(http.get("/health"), 200)["uptime_seconds"] >= first


def test_2_an_unknown_provider_is_degraded_and_still_ready(
    tmp_path: Path, databases: ChosenDatabases
) -> None:
    with served(tmp_path, llm_provider="nobody") as server, client_of(server) as http:
        body = probe(http.get("/ready"), 200)
        assert body["status"] == "degraded"
        assert body["components"]["models"]["status"] == "degraded"


KEYS = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "azure": ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_DEPLOYMENT"),
}
"""What has to be set for each provider to be usable."""


@pytest.mark.parametrize(
    ("provider", "without"),
    [(name, key) for name, keys in KEYS.items() for key in (None, *keys)],
)
def test_2_a_provider_is_up_with_all_its_keys_and_down_without_one(
    tmp_path: Path,
    databases: ChosenDatabases,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    without: str | None,
) -> None:
    for key in KEYS[provider]:
        monkeypatch.setenv(key, "https://example.invalid/")
    if without is not None:
        monkeypatch.delenv(without)
    with served(tmp_path, llm_provider=provider) as server, client_of(server) as http:
        judged(http, "up" if without is None else "down")


def judged(http: httpx.Client, models: str) -> None:
    """The models are as told, the rest is well, and the whole follows from that."""
    overall, status = {
        "up": ("healthy", 200),
        "degraded": ("degraded", 200),
        "down": ("unhealthy", 503),
    }[models]
    body = probe(http.get("/ready"), status)
    found = {name: each["status"] for name, each in body["components"].items()}
    assert found == dict.fromkeys(found, "up") | {"models": models}
    assert body["status"] == overall
    # Liveness asks nobody.
    assert probe(http.get("/health"), 200)["status"] == "healthy"


@contextmanager
def llama_server(status: int, body: bytes) -> Iterator[str]:
    """The address of something that answers like this at `/health`, and at nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.path == "/health"
            self.send_response(status if right else 404)
            self.end_headers()
            self.wfile.write(body if right else b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(SECONDS)
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "models"),
    [
        (200, b'{"status": "ok"}', "up"),
        (200, b'{"status": "loading model"}', "degraded"),
        (200, b"<html>", "down"),
        (503, b'{"status": "ok"}', "down"),
    ],
)
def test_2_a_llama_server_is_as_it_says(
    tmp_path: Path,
    databases: ChosenDatabases,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    body: bytes,
    models: str,
) -> None:
    with llama_server(status, body) as address:
        monkeypatch.setenv("LLAMASERVER_HOST", address)
        with served(tmp_path, llm_provider="llamaserver") as server, client_of(server) as http:
            judged(http, models)


def test_2_a_llama_server_that_gives_no_answer_is_down(
    tmp_path: Path, databases: ChosenDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("LLAMASERVER_HOST", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with served(tmp_path, llm_provider="llamaserver") as server, client_of(server) as http:
            began = time.monotonic()
            judged(http, "down")
            # Given up by the time that is agreed, or a little after it on a busy machine.
            assert time.monotonic() - began < 5 + SECONDS / 2


def test_2_a_model_in_a_file_is_up_while_the_file_exists(
    tmp_path: Path, databases: ChosenDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.gguf"
    monkeypatch.setenv("LLAMACPP_MODEL_PATH", str(model))
    for there in (False, True):
        if there:
            model.write_bytes(b"GGUF")
        data = tmp_path / str(there)
        with served(data, llm_provider="llamacpp") as server, client_of(server) as http:
            judged(http, "up" if there else "down")


@pytest.mark.parametrize(("seconds", "status"), [(1.05, "degraded"), (3600.0, "down")])
def test_2_a_slow_database_is_degraded_and_one_that_hangs_is_down(
    tmp_path: Path, databases: ChosenDatabases, seconds: float, status: str
) -> None:
    with served(tmp_path) as server, client_of(server) as http:
        database = server.plugin.runtime.persistence
        answer = database.fetch_one

        async def slowly(*given: Any) -> Any:
            await asyncio.sleep(seconds)
            return await answer(*given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "fetch_one", slowly)
            body = probe(http.get("/ready"), 503 if status == "down" else 200)
        assert body["components"]["database"]["status"] == status
        assert body["status"] == ("unhealthy" if status == "down" else "degraded")


def test_2_without_its_schema_the_database_is_down(
    tmp_path: Path, databases: ChosenDatabases
) -> None:
    with served(tmp_path) as server, client_of(server) as http:
        server.execute("ALTER TABLE event RENAME TO gone")
        body = probe(http.get("/ready"), 503)
        assert body["status"] == "unhealthy"
        assert body["components"]["database"]["status"] == "down"
        assert probe(http.get("/health"), 200)["status"] == "healthy"


def test_2_before_it_has_started_a_server_says_so(
    tmp_path: Path,
    databases: ChosenDatabases,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also over the WebSocket, with 1011; and everything else is 503. None of it is an error."""
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect

    from mission_system.core.node import Node

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    may_start = threading.Event()
    start = Node.start

    async def later(node: Node, *given: Any) -> None:
        while not may_start.is_set():
            await asyncio.sleep(0.01)
        await start(node, *given)

    monkeypatch.setattr(Node, "start", later)
    seen: list[Any] = []

    def look() -> None:
        url = f"http://127.0.0.1:{port}"
        try:
            with httpx.Client(base_url=url, timeout=SECONDS) as http:
                for _ in range(1000):
                    try:
                        http.get("/health")
                        break
                    except httpx.ConnectError:
                        threading.Event().wait(0.05)
                seen.extend(http.get(path) for path in ("/health", "/ready", "/"))
                # Without a Control Tower; what is sent does not matter.
                seen.append([http.request(*call) for call in UNTIL_STARTED])
                with connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as socket:
                    try:
                        socket.recv(SECONDS)
                    except ConnectionClosed as closed:
                        seen.append(closed.rcvd and closed.rcvd.code)
                try:
                    connect(f"ws://127.0.0.1:{port}/graphql", proxy=None).close()
                except InvalidStatus as refused:
                    seen.append(refused.response.status_code)
        finally:
            may_start.set()

    looking = threading.Thread(target=look)
    looking.start()
    with served(tmp_path, port=port) as server, client_of(server) as http:
        looking.join(SECONDS)
        assert probe(http.get("/health"), 200)["status"] == "healthy"
        assert probe(http.get("/ready"), 200)["status"] == "healthy"
    health, ready, root, others, code, status = seen
    for answer, status in ((health, 500), (ready, 503)):
        assert answer.status_code == status
        body = answer.json()
        assert set(body) == {"status", "message"}
        assert body["status"] == "unhealthy"
        assert isinstance(body["message"], str)
    assert root.status_code == 200
    for answer in others:
        assert "starting" in refused(answer, 503)
    assert (code, status) == (1011, 503)
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []
