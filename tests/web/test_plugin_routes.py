"""Routes of plugins: served under their name, to whoever the server knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from mission_system import Caller, NotFound, hookimpl
from mission_system.core.settings import Settings
from mission_system.core.tokens.service import TokenService
from mission_system.web import auth
from mission_system.web.app import create_app


async def who(request: Request) -> JSONResponse:
    caller: Caller = request.user
    return JSONResponse({"user": caller.user_id, "phase": request.app.state.phase})


async def missing(_: Request) -> JSONResponse:
    raise NotFound("station", "7")


async def broken(_: Request) -> JSONResponse:
    raise RuntimeError("password=hunter2")


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(socket.user.user_id)
    await socket.receive_text()
    raise RuntimeError("password=hunter2")


@hookimpl
def register_routes() -> list[BaseRoute]:
    return [
        Route("/who", who),
        Route("/missing", missing),
        Route("/broken", broken),
        WebSocketRoute("/echo", echo),
    ]


PLUGIN = SimpleNamespace(__name__="weather", register_routes=register_routes)
HOME = "http://127.0.0.1"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    app = create_app(Settings(data=tmp_path, shutdown_seconds=0), [PLUGIN])
    with TestClient(app, base_url=HOME, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(auth, "RECHECK_SECONDS", 0.05)
    app = create_app(Settings(data=tmp_path, auth="tokens", shutdown_seconds=0), [PLUGIN])
    with TestClient(app, base_url=HOME, raise_server_exceptions=False) as client:
        yield client


def test_a_route_knows_who_calls(client: TestClient) -> None:
    answer = client.get("/plugins/weather/who", headers={"X-Mission-User": "ann"})
    assert answer.json() == {"user": "ann", "phase": "serving"}


def test_a_route_is_behind_the_guard(client: TestClient) -> None:
    assert client.get("/plugins/weather/who", headers={"Host": "evil.example"}).status_code == 403
    origin = {"Origin": "http://evil.example"}
    assert client.get("/plugins/weather/who", headers=origin).status_code == 403


def test_errors_are_told_as_the_server_s_own_are(client: TestClient) -> None:
    assert client.get("/plugins/weather/missing").status_code == 404
    answer = client.get("/plugins/weather/broken")
    assert (answer.status_code, "hunter2" in answer.text) == (500, False)
    assert "incident" in answer.json()["detail"]
    for path in ("/plugins/weather/other", "/plugins/other/who", "/plugins/weather"):
        assert client.get(path).status_code == 404
    assert client.post("/plugins/weather/who").status_code == 405


def test_a_socket_that_fails_is_closed_without_a_word(client: TestClient) -> None:
    with client.websocket_connect("ws://127.0.0.1/plugins/weather/echo") as socket:
        assert socket.receive_text() == "local"
        socket.send_text("go on")
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert (closed.value.code, closed.value.reason) == (1011, "")


def test_without_a_token_nothing_is_served(guarded: TestClient) -> None:
    assert guarded.get("/plugins/weather/who").status_code == 401
    with (
        pytest.raises(WebSocketDisconnect),
        guarded.websocket_connect("/plugins/weather/echo") as socket,
    ):
        socket.receive_text()


def test_a_socket_is_closed_when_its_token_is_revoked(guarded: TestClient) -> None:
    tokens: TokenService = guarded.app.state.node.tokens  # type: ignore[attr-defined]  # pyright: ignore
    assert guarded.portal is not None
    token, secret = guarded.portal.call(tokens.create, "ann")
    with guarded.websocket_connect(f"/plugins/weather/echo?token={secret}") as socket:
        assert socket.receive_text() == "ann"
        guarded.portal.call(tokens.revoke, token.id)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert closed.value.code == auth.FORBIDDEN
