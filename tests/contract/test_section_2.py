"""Section 2: root and probes."""

from __future__ import annotations

import asyncio
import socket
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from databases import ChosenDatabases

from mission_system import __version__

from .conftest import Json, client_of
from .served import SECONDS, Served, served

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


def test_2_a_provider_without_its_key_is_down_and_not_ready(
    tmp_path: Path, databases: ChosenDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with served(tmp_path, llm_provider="openai") as server, client_of(server) as http:
        body = probe(http.get("/ready"), 503)
        assert body["status"] == "unhealthy"
        assert body["components"]["models"]["status"] == "down"
        assert body["components"]["database"]["status"] == "up"
        # Liveness asks nobody.
        assert probe(http.get("/health"), 200)["status"] == "healthy"


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
                seen.extend(
                    http.get(path) for path in ("/health", "/ready", "/", "/api/v1/metrics")
                )
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
    health, ready, root, metrics, code, status = seen
    for answer, status in ((health, 500), (ready, 503)):
        assert answer.status_code == status
        body = answer.json()
        assert set(body) == {"status", "message"}
        assert body["status"] == "unhealthy"
        assert isinstance(body["message"], str)
    assert root.status_code == 200
    assert metrics.status_code == 503
    assert isinstance(metrics.json()["detail"], str)
    assert (code, status) == (1011, 503)
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []
