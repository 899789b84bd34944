"""Tokens over the transports that stay open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import structlog

from mission_system.core.clock import SECOND, now
from mission_system.core.identity import Role
from mission_system.core.settings import Settings
from mission_system.core.tokens import token as token_module
from mission_system.core.tokens.service import DAY, REMEMBER_SECONDS
from mission_system.core.tokens.token import Token
from mission_system.web import auth
from mission_system.web.app import create_app
from mission_system.web.auth import RECHECK_SECONDS

from .conftest import Connect, Gate, Json, Server, started

VIEWER = "{ viewer { userId } }"
EVENTS = "subscription($id: ID!) { sessionEvents(sessionId: $id) { type } }"
SEND = """mutation { sendMessage(input: {text: "hi", capability: "gate"}) { __typename } }"""
CREATE = "mutation { createSession(input: {}) { ... on CreateSessionPayload { session { id } } } }"


@pytest.fixture
async def server(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    monkeypatch.setattr(auth, "RECHECK_SECONDS", 0.05)
    settings = Settings(data=tmp_path, auth="tokens", shutdown_seconds=0)
    async with started(create_app(settings, [gate.plugin()])) as server:
        yield server


@pytest.fixture
async def ann(server: Server) -> tuple[Token, str]:
    return await server.node.tokens.create("ann")


@asynccontextmanager
async def stream(server: Server, secret: str, id: str) -> AsyncIterator[httpx.Response]:
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {secret}"}
    body = {"query": EVENTS, "variables": {"id": id}}
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream("POST", server.url, json=body, headers=headers) as response,
    ):
        yield response


async def session_of(server: Server, secret: str) -> str:
    async with httpx.AsyncClient(timeout=20) as client:
        headers = {"Authorization": f"Bearer {secret}"}
        answer = await client.post(server.url, json={"query": CREATE}, headers=headers)
    id: str = answer.json()["data"]["createSession"]["session"]["id"]
    return id


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
async def test_the_handshake_of_the_protocol_may_bring_the_token(
    connected: Connect, ann: tuple[Token, str], name: str
) -> None:
    async with connected(init=False) as socket:
        await socket.send({"type": "connection_init", "payload": {name: f"Bearer {ann[1]}"}})
        assert (await socket.receive())["type"] == "connection_ack"
        await socket.subscribe("v", VIEWER)
        result = await socket.receive()
        assert result["payload"] == {"data": {"viewer": {"userId": "ann"}}}


@pytest.mark.parametrize("role", ["service", "user", "admin"])
async def test_only_the_handshake_of_a_service_may_name_its_user(
    connected: Connect, server: Server, role: Role
) -> None:
    _, secret = await server.node.tokens.create("shop", role=role)
    payload = {"Authorization": f"Bearer {secret}", "X-Mission-User": "eve"}
    async with connected(init=False) as socket:
        await socket.send({"type": "connection_init", "payload": payload})
        if role != "service":
            assert await socket.closed() == 4403
            return
        assert (await socket.receive())["type"] == "connection_ack"
        await socket.subscribe("v", VIEWER)
        assert (await socket.receive())["payload"] == {"data": {"viewer": {"userId": "eve"}}}


async def test_a_header_may_bring_it_too(connected: Connect, ann: tuple[Token, str]) -> None:
    async with connected(additional_headers={"Authorization": f"Bearer {ann[1]}"}) as socket:
        await socket.subscribe("v", VIEWER)
        result = await socket.receive()
        assert result["payload"] == {"data": {"viewer": {"userId": "ann"}}}


@pytest.mark.parametrize(
    "payload", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": 5}, {"token": "wrong"}]
)
async def test_a_socket_without_a_valid_token_is_closed(connected: Connect, payload: Json) -> None:
    async with connected(init=False) as socket:
        await socket.send({"type": "connection_init", "payload": payload})
        assert await socket.closed() == 4403


async def test_no_operation_runs_before_the_handshake(
    connected: Connect, ann: tuple[Token, str]
) -> None:
    headers = {"Authorization": f"Bearer {ann[1]}"}
    async with connected(init=False, additional_headers=headers) as socket:
        await socket.subscribe("v", VIEWER)
        assert await socket.closed() == 4401


async def test_revoking_a_token_closes_its_sockets(
    connected: Connect, server: Server, ann: tuple[Token, str]
) -> None:
    token, secret = ann
    id = await session_of(server, secret)
    async with connected(init=False) as socket:
        await socket.send(
            {"type": "connection_init", "payload": {"Authorization": f"Bearer {secret}"}}
        )
        assert (await socket.receive())["type"] == "connection_ack"
        await socket.subscribe("s", EVENTS, id=id)
        await server.node.tokens.revoke(token.id)
        assert await socket.closed() == 4403
    await server.until_nobody_follows()


@pytest.mark.parametrize("transport", ["socket", "stream"])
async def test_a_token_that_expires_ends_what_is_open(
    connected: Connect, server: Server, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    _, secret = await server.node.tokens.create("ann", days=1)
    id = await session_of(server, secret)
    tomorrow = now() + 2 * DAY * SECOND
    if transport == "socket":
        headers = {"Authorization": f"Bearer {secret}"}
        async with connected(additional_headers=headers) as socket:
            await socket.subscribe("s", EVENTS, id=id)
            monkeypatch.setattr(token_module, "now", lambda: tomorrow)
            assert await socket.closed() == 4403
    else:
        async with stream(server, secret, id) as response:
            assert response.status_code == 200
            monkeypatch.setattr(token_module, "now", lambda: tomorrow)
            async with asyncio.timeout(20):
                async for _ in response.aiter_lines():
                    pass
    await server.until_nobody_follows()


def test_a_token_that_is_lost_ends_what_is_open_within_a_minute() -> None:
    assert RECHECK_SECONDS + REMEMBER_SECONDS <= 60


async def test_a_revocation_is_heard_of_after_the_storage_was_out_of_reach(
    connected: Connect, server: Server, ann: tuple[Token, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token, secret = ann
    async with connected(additional_headers={"Authorization": f"Bearer {secret}"}) as socket:
        failed, failures = asyncio.Event(), list[str]()

        async def out_of_reach(secret: str) -> None:
            failures.append(secret)
            if len(failures) == 3:
                failed.set()
            raise OSError("no storage")

        with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
            patch.setattr(server.node.tokens, "check", out_of_reach)
            await failed.wait()
        assert [log["event"] for log in logs] == ["auth.recheck_failed"]  # not each time anew
        await socket.subscribe("v", VIEWER)
        assert (await socket.receive())["payload"]["data"]
        await server.node.tokens.revoke(token.id)
        assert await socket.closed() == 4403


async def test_a_token_that_is_lost_is_given_no_answer_that_was_under_way(
    server: Server, ann: tuple[Token, str], gate: Gate
) -> None:
    token, secret = ann
    async with httpx.AsyncClient(timeout=20) as client:
        waits = asyncio.create_task(
            client.post(
                server.url, json={"query": SEND}, headers={"Authorization": f"Bearer {secret}"}
            )
        )
        await gate.entered.wait()
        await server.node.tokens.revoke(token.id)
        answer = await waits
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    [error] = answer.json()["errors"]
    assert error["extensions"] == {"code": "UNAUTHENTICATED"}
    gate.opened.set()


async def test_revoking_a_token_ends_its_streams(server: Server, ann: tuple[Token, str]) -> None:
    token, secret = ann
    id = await session_of(server, secret)
    async with stream(server, secret, id) as response:
        assert response.status_code == 200
        await server.node.tokens.revoke(token.id)
        async with asyncio.timeout(20):
            async for _ in response.aiter_lines():
                pass
    await server.until_nobody_follows()
    async with stream(server, secret, id) as refused:
        assert refused.status_code == 401
