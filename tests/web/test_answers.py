"""What of an answer leaves in one write, as a client's side of HTTP understands it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import h11
import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from mission_system.core.settings import Settings
from mission_system.web import serve
from mission_system.web.answers import OneWrite
from mission_system.web.patience import PatientHttp

LENGTH = (b"content-length", b"2")
CHUNKED = (b"transfer-encoding", b"chunked")


def asked(method: str = "GET") -> tuple[OneWrite, h11.Connection]:
    """A server's side that has read a request, and the client that has sent it."""
    server, client = OneWrite(h11.SERVER), h11.Connection(h11.CLIENT)
    request = h11.Request(method=method, target="/", headers=[("host", "x")])
    server.receive_data(client.send(request) + client.send(h11.EndOfMessage()))
    while server.next_event() is not h11.NEED_DATA and server.their_state is not h11.DONE:
        pass
    return server, client


def heard(client: h11.Connection, written: bytes | None) -> list[str]:
    client.receive_data(written or b"")
    told: list[str] = []
    while (event := client.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        told.append(type(event).__name__)
    return told


def test_head_and_body_of_a_whole_answer_leave_together() -> None:
    server, client = asked()
    assert server.send(h11.Response(status_code=200, headers=[LENGTH])) == b""
    assert heard(client, server.send(h11.Data(b"hi"))) == ["Response", "Data", "EndOfMessage"]
    assert server.send(h11.EndOfMessage()) == b""


def test_later_parts_of_a_long_answer_are_sent_once() -> None:
    server, client = asked()
    server.send(h11.Response(status_code=200, headers=[LENGTH]))
    assert heard(client, server.send(h11.Data(b"h"))) == ["Response", "Data"]
    assert server.send(h11.Data(b"i")) == b"i"


def test_the_head_of_a_stream_does_not_wait() -> None:
    server, client = asked()
    written = server.send(h11.Response(status_code=200, headers=[CHUNKED]))
    assert heard(client, written) == ["Response"]
    assert heard(client, server.send(h11.Data(b"hi"))) == ["Data"]


@pytest.mark.parametrize("parts", [(h11.Data(b""), h11.EndOfMessage()), (h11.EndOfMessage(),)])
def test_an_answer_without_a_body_has_a_head(parts: tuple[h11.Event, ...]) -> None:
    server, client = asked("HEAD")
    server.send(h11.Response(status_code=200, headers=[LENGTH]))
    written = [server.send(part) or b"" for part in parts]
    assert heard(client, b"".join(written)) == ["Response", "EndOfMessage"]


def test_the_next_answer_of_a_connection_has_a_head_of_its_own() -> None:
    server, client = asked()
    for _ in range(2):
        server.send(h11.Response(status_code=200, headers=[LENGTH]))
        written = server.send(h11.Data(b"hi"))
        server.send(h11.EndOfMessage())
        assert heard(client, written) == ["Response", "Data", "EndOfMessage"]
        client.start_next_cycle()
        server.start_next_cycle()
        request = h11.Request(method="GET", target="/", headers=[("host", "x")])
        server.receive_data(client.send(request) + client.send(h11.EndOfMessage()))
        while server.their_state is not h11.DONE:
            server.next_event()


@pytest.mark.parametrize(("largest", "sent"), [(None, 1 << 15), (100, 200)])
async def test_a_head_may_be_no_larger_than_the_setting_of_uvicorn_says(
    largest: int | None, sent: int
) -> None:
    config = uvicorn.Config(
        PlainTextResponse("hi"),
        http=PatientHttp,
        lifespan="off",
        log_config=None,
        h11_max_incomplete_event_size=largest,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))  # callers queue until it serves
    task = asyncio.create_task(server.serve([listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * sent)
    try:
        async with asyncio.timeout(20):
            assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    finally:
        writer.transport.abort()
        server.should_exit = True
        await task


async def test_a_server_answers_in_one_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    made = PatientHttp.connection_made

    def listening(http: PatientHttp, transport: asyncio.Transport) -> None:
        made(http, transport)
        write = transport.write

        def counted(data: bytes) -> None:
            written.append(data)
            write(data)

        monkeypatch.setattr(transport, "write", counted)

    monkeypatch.setattr(PatientHttp, "connection_made", listening)
    async with (
        serve.serving(Settings(data=tmp_path, port=0, shutdown_seconds=0)) as running,
        httpx.AsyncClient(timeout=30) as client,
    ):
        assert (await client.get(f"{running.url}/health")).status_code == 200
    (answer,) = filter(None, written)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"}")
