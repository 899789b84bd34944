"""Connections: heartbeats, peers that fall silent, and what is left when a connection ends."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from strawberry.http.streaming import MultipartSubscriptionTransport, SSETransport
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from mission_system.core.settings import Settings
from mission_system.schema.build import MissionSchema
from mission_system.web import app as composition
from mission_system.web import serve
from mission_system.web.graphql import view
from mission_system.web.graphql.media import Media
from mission_system.web.stall import DropStalled

from .conftest import Connect, Http, Server
from .test_stream import EVENTS, MULTIPART, SESSION, server_sent

IN_FULL = SESSION.replace("type }", "type payload }")
HEARTBEAT = 0.05


@asynccontextmanager
async def really_serving(
    folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[Server]:
    """A server as `mission serve` runs it, rather than as the other tests do."""
    apps: list[Starlette] = []
    create = composition.create_app

    def create_app(settings: Settings, plugins: Any = None) -> Starlette:
        apps.append(create(settings, plugins))
        return apps[-1]

    monkeypatch.setattr(composition, "create_app", create_app)
    given = Settings(data=folder, port=0, shutdown_seconds=0, **settings)
    async with serve.serving(given) as running:
        yield Server(apps[0], f"{running.url}/graphql")


async def sent(server: Server, text: str = "hello") -> str:
    """The session of a message that was sent and answered."""
    async with httpx.AsyncClient(timeout=30) as client:
        process = await Http(client, server.url).send(text)
    session: str = process["sessionId"]
    return session


@asynccontextmanager
async def socket_to(server: Server, **options: Any) -> AsyncIterator[ClientConnection]:
    """A WebSocket after the handshakes."""
    protocols = [Subprotocol("graphql-transport-ws")]
    options = {"proxy": None, "ping_interval": None, "close_timeout": 0.1, **options}
    async with connect(server.socket_url, subprotocols=protocols, **options) as connection:
        await connection.send('{"type": "connection_init"}')
        await connection.recv()
        yield connection


async def subscribe(connection: ClientConnection, query: str, session: str, times: int = 1) -> None:
    payload = {"query": query, "variables": {"id": session, "after": ""}}
    for number in range(times):
        message = {"type": "subscribe", "id": f"{number}", "payload": payload}
        await connection.send(json.dumps(message))


def followers(server: Server) -> int:
    schema = server.view.schema
    assert isinstance(schema, MissionSchema)
    return schema.subscribers.total


async def until(condition: Any, what: str) -> None:
    """Returns once the condition holds; a guard against hanging, not a measure."""
    try:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(what) from None


# heartbeats


async def test_a_stream_without_news_has_heartbeats_and_then_its_news(
    http: Http, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(view._TRANSPORTS, Media.EVENTS, lambda: SSETransport(HEARTBEAT))
    session = (await http.send("hello"))["sessionId"]
    body = {"query": SESSION, "variables": {"id": session}}
    headers = {"Accept": EVENTS}
    async with http.client.stream("POST", http.url, json=body, headers=headers) as response:
        lines = response.aiter_lines()
        beats = 0
        async for line in lines:
            beats += line == ": ping"
            if beats == 3:
                break
        await http.send("again", sessionId=session)
        async for line in lines:
            if line.startswith("data: "):
                assert json.loads(line[6:])["data"]["sessionEvents"]["type"]
                break


async def test_a_multipart_stream_has_heartbeats(
    http: Http, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MultipartSubscriptionTransport, "heartbeat_interval", HEARTBEAT)
    session = (await http.send("hello"))["sessionId"]
    body = {"query": SESSION, "variables": {"id": session}}
    headers = {"Accept": MULTIPART}
    async with http.client.stream("POST", http.url, json=body, headers=headers) as response:
        beats = 0
        async for line in response.aiter_lines():
            beats += line == "{}"
            if beats == 3:
                return
    raise AssertionError("the stream ended")


def test_heartbeats_are_closer_together_than_proxies_are_patient() -> None:
    """The usual limit of proxies for a connection without traffic is a minute."""
    assert SSETransport().heartbeat_interval <= 20
    assert MultipartSubscriptionTransport().heartbeat_interval <= 20
    assert serve.PING_SECONDS <= 20


# silence


async def test_a_socket_whose_peer_answers_no_pings_is_closed_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a machine falls asleep, or its network is gone: nothing tells of it."""
    monkeypatch.setattr(serve, "PING_SECONDS", 0.2)
    monkeypatch.setattr(serve, "PONG_SECONDS", 2.0)
    async with really_serving(tmp_path, monkeypatch) as server:
        session = await sent(server)
        async with socket_to(server) as silent, socket_to(server) as other:
            for each in (silent, other):
                await subscribe(each, SESSION, session)
                await each.recv()
            assert followers(server) == 2
            silent.transport.pause_reading()  # type: ignore[attr-defined]
            await until(lambda: followers(server) == 1, "the silent one is still served")
            while (await other.recv()) is None:
                pass
            # It answers pings, and goes on however long that takes.
            await asyncio.sleep(1)
            assert followers(server) == 1
            silent.transport.abort()
        await server.until_nobody_follows()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux knows the option")
@pytest.mark.parametrize("transport", ["socket", "stream"])
async def test_a_peer_that_takes_nothing_more_is_given_up_by_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """All buffers are full and stay so, and nobody sends anything who could notice."""
    monkeypatch.setattr(serve, "DEAD_SECONDS", 2)
    async with really_serving(tmp_path, monkeypatch) as server:
        session = await sent(server, "🙂" * 10_000)
        host, port = server.url.split("/")[2].split(":")
        dead = socket.create_connection((host, int(port)))
        dead.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if transport == "socket":
            dead.setblocking(False)
            async with socket_to(server, sock=dead, compression=None) as silent:
                silent.transport.pause_reading()  # type: ignore[attr-defined]
                await subscribe(silent, IN_FULL, session, 90)
                await until(lambda: followers(server) > 50, "nobody follows")
                await until(lambda: followers(server) == 0, "the dead one is still served")
                silent.transport.abort()
        else:
            variables = {"id": session, "after": ""}
            fields = " ".join(f"a{n}: payload" for n in range(45))
            query = SESSION.replace("type }", fields + " }")
            body = json.dumps({"query": query, "variables": variables}).encode()
            dead.sendall(
                b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            await until(lambda: followers(server) == 1, "nobody follows")
            await until(lambda: followers(server) == 0, "the dead one is still served")
            dead.close()
        await server.until_nobody_follows()


def test_what_is_dead_is_given_up_within_minutes() -> None:
    assert serve.PING_SECONDS + serve.PONG_SECONDS <= 60
    assert serve.DEAD_SECONDS <= 120


@pytest.mark.parametrize("accept", [EVENTS, MULTIPART])
async def test_a_stream_that_is_not_read_is_dropped_and_others_go_on(
    http: Http, server: Server, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    monkeypatch.setattr(server.view, "_serve", DropStalled(server.view._connection, 0.5))
    session = (await http.send("🙂" * 10_000))["sessionId"]
    fields = " ".join(f"a{n}: payload" for n in range(45))
    body = json.dumps(
        {
            "query": SESSION.replace("type }", fields + " }"),
            "variables": {"id": session, "after": ""},
        }
    ).encode()
    host, port = server.url.split("/")[2].split(":")
    stalled = [socket.socket() for _ in range(3)]
    for each in stalled:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        each.connect((host, int(port)))
        each.sendall(
            b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Accept: %s\r\nContent-Length: %d\r\n\r\n" % (accept.encode(), len(body)) + body
        )
    await until(lambda: followers(server) == 3, "nobody follows")
    async with http.client.stream(
        "POST",
        http.url,
        json={"query": SESSION, "variables": {"id": session, "after": ""}},
        headers={"Accept": EVENTS},
    ) as response:
        events = server_sent(response)
        assert (await anext(events))[0] == "next"
        await until(lambda: followers(server) == 1, "the stalled ones are still served")
        await http.send("again", sessionId=session)
        seqs = []
        while len(seqs) < 10:
            _, data = await anext(events)
            assert data is not None
            seqs.append(data["data"]["sessionEvents"]["seq"])
        assert seqs == list(range(2, 12))
    for each in stalled:
        each.close()
    await server.until_nobody_follows()


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_a_message_larger_than_a_body_may_be_closes_its_socket_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str | None
) -> None:
    """Also one that is small as it travels, and large once it is unpacked."""
    async with really_serving(tmp_path, monkeypatch, max_body_bytes=10_000) as server:
        session = await sent(server)
        async with socket_to(server) as other:
            await subscribe(other, SESSION, session)
            await other.recv()
            async with socket_to(server, compression=compression) as large:
                with suppress(ConnectionClosed):  # before all of it is sent, maybe
                    await large.send('{"type": "ping", "payload": {"a": "%s"}}' % ("a" * 5_000_000))
                await large.wait_closed()
                assert large.close_code == 1009
            await other.send('{"type": "ping"}')
            while "pong" not in str(await other.recv()):
                pass


# ends


@pytest.mark.parametrize("transport", ["socket", EVENTS, MULTIPART])
async def test_clients_that_vanish_leave_no_subscription_tail_or_task_behind(
    http: Http, server: Server, connected: Connect, transport: str
) -> None:
    session = (await http.send("hello"))["sessionId"]
    await http.client.aclose()
    await asyncio.sleep(0)
    before = len(asyncio.all_tasks())
    body = {"query": SESSION, "variables": {"id": session, "after": ""}}
    if transport == "socket":
        for _ in range(3):
            async with connected() as socket:
                for number in range(20):
                    await socket.subscribe(f"{number}", SESSION, id=session, after="")
                await until(lambda: followers(server) == 20, "nobody follows")
                await until(lambda: server.node.followers._tails, "nobody reads the log")
                socket.connection.transport.abort()
            await until(lambda: followers(server) == 0, "subscriptions are left")
    else:
        async with httpx.AsyncClient(timeout=20) as client:
            headers = {"Accept": transport}
            asked = [
                client.build_request("POST", http.url, json=body, headers=headers)
                for _ in range(20)
            ]
            streams = [await client.send(request, stream=True) for request in asked]
            await until(lambda: followers(server) == 20, "nobody follows")
            await until(lambda: server.node.followers._tails, "nobody reads the log")
            for each in streams:
                await each.aclose()
    await server.until_nobody_follows()
    await until(lambda: followers(server) == 0, "subscriptions are left")
    await until(lambda: len(asyncio.all_tasks()) <= before, f"{asyncio.all_tasks()}")
