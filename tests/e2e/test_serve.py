"""Servers that start, refuse to start, and stop."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from mission_system.core.storage.lease import Lease

if TYPE_CHECKING:
    from .conftest import Cli


def test_a_second_server_on_the_folder_is_refused_and_told_who_has_it(cli: Cli) -> None:
    with cli.server() as server:
        for port in ("0", server.url.rpartition(":")[2]):
            second = cli.run("serve", "--port", port)
            assert second.returncode == 2
            assert f"process {server.process.pid}" in second.stderr
            assert server.url in second.stderr
            assert "Traceback" not in second.stderr
        assert server.get("/health")["status"] == "healthy"


def test_a_taken_port_is_refused_before_data_is_touched(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli.run("serve", "--port", str(port))
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
    assert not cli.data.exists()


def test_an_address_for_others_is_refused_without_insecure(cli: Cli) -> None:
    done = cli.run("serve", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "--insecure" in done.stderr
    assert "Traceback" not in done.stderr
    assert not cli.data.exists()


def test_an_address_for_others_is_served_with_insecure(cli: Cli) -> None:
    with cli.server("--host", "0.0.0.0", "--insecure") as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert cli.run("ask", "hello").stdout == "You said: hello\n"


def test_bad_settings_are_named_one_to_a_line(cli: Cli) -> None:
    done = cli.run("serve", MISSION_PORT="abc", MISSION_QUOTA__MAX_LLM_CALLS="-1")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [
        "MISSION_PORT",
        "MISSION_QUOTA__MAX_LLM_CALLS",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_stops_cleanly_on_a_signal(cli: Cli, number: int) -> None:
    with cli.server() as server:
        assert server.get("/ready")["status"] == "healthy"
        assert server.stop(number) == 0
        assert Lease.read(cli.data) is None
        assert server.events[-1] == "server.stopping"
        assert "Traceback" not in server.log.read_text()


def test_a_second_ctrl_c_stops_at_once_and_loses_nothing(cli: Cli) -> None:
    cli.environment = {"MISSION_SHUTDOWN_SECONDS": "600"}
    with cli.server() as server, cli.at_terminal("ask", "x", "--capability", "hang") as terminal:
        pid = terminal.process_at("- hang")
        server.ask_to_stop()
        assert server.stop() == 130
        assert "Traceback" not in server.log.read_text()
        # The client goes on by itself once a server is back, maybe on another port.
        with cli.server():
            assert cli.process(pid)["outcome"] is None
            terminal.process.send_signal(signal.SIGINT)
            assert terminal.end()[0] == 130
            assert cli.process(pid)["outcome"] == "CANCELLED"


def test_a_request_that_waits_hears_where_it_stands_when_the_server_stops(cli: Cli) -> None:
    cli.environment = {"MISSION_SHUTDOWN_SECONDS": "0.2"}
    send = """mutation { sendMessage(input: {text: "x", capability: "hang"}) {
        ... on SendMessagePayload { process { state outcome } } } }"""
    with cli.server() as server, ThreadPoolExecutor() as threads:
        answer = threads.submit(asyncio.run, server.execute(send))
        with cli.at_terminal("ask", "x", "--capability", "hang") as terminal:
            terminal.process_at("- hang")  # sent later, so the first one waits by now
            assert server.stop() == 0
        assert answer.result()["sendMessage"]["process"]["outcome"] is None


def test_an_open_stream_ends_in_good_order_when_the_server_stops(cli: Cli) -> None:
    with cli.server() as server:
        asyncio.run(server.execute('mutation { sendMessage(input: {text: "x"}) { __typename } }'))
        found = asyncio.run(server.execute("{ sessions { nodes { sessionId } } }"))
        follow = """subscription($sessionId: ID!) {
            sessionEvents(sessionId: $sessionId, after: "") { type } }"""
        with server.stream(follow, **found["sessions"]["nodes"][0]) as lines:
            while "process.completed" not in next(lines):
                pass
            assert server.stop() == 0
            assert "process" not in "".join(lines)  # read to a proper end
        assert "Traceback" not in server.log.read_text()


def test_a_tool_that_never_returns_does_not_keep_the_server_alive(cli: Cli) -> None:
    cli.environment = {"MISSION_SHUTDOWN_SECONDS": "0.2"}
    with cli.server() as server, cli.at_terminal("ask", "x", "--capability", "stuck") as terminal:
        terminal.read_until("forever {}")
        assert server.stop() == 0


def test_a_capability_that_will_not_be_cancelled_does_not_keep_the_server_alive(cli: Cli) -> None:
    cli.environment = {"MISSION_SHUTDOWN_SECONDS": "0.2"}
    with cli.server() as server, cli.at_terminal("ask", "x", "--capability", "deaf") as terminal:
        terminal.process_at("- deaf")
        assert server.stop() == 0
        assert "leaving them" in server.log.read_text()
        assert Lease.read(cli.data) is None


SECONDS = 30.0
SLOW = """
import asyncio
from pathlib import Path
from mission_system import hookimpl

@hookimpl
async def runtime_started(context, runtime):
    while not Path("go").exists():
        await asyncio.sleep(0.02)
"""


def test_probes_tell_of_a_start_that_takes_long(cli: Cli) -> None:
    cli.install("acme_slow", SLOW)
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with ThreadPoolExecutor() as threads, ExitStack() as stack:
        server = threads.submit(stack.enter_context, cli.server("--port", url.rpartition(":")[2]))
        starting = {"status": "unhealthy", "message": "the server is starting"}
        try:
            assert answer(f"{url}/health") == (500, starting)
            assert answer(f"{url}/ready") == (503, starting)
            assert answer(f"{url}/docs") == (503, {"detail": "the server is starting"})
            holder = Lease.read(cli.data)
            assert holder is not None
            assert holder.url is None
        finally:
            (cli.folder / "go").touch()
        assert server.result().url == url
        assert answer(f"{url}/ready")[0] == 200
        assert server.result().stop() == 0


def answer(url: str) -> tuple[int, object]:
    """The status and body, from a server that may not listen yet."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=SECONDS) as told:
                return told.status, json.load(told)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except urllib.error.URLError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_start_that_is_interrupted_leaves_nothing_running(cli: Cli) -> None:
    cli.install("acme_slow", SLOW)
    process = cli.start("serve", "--port", "0", stderr=subprocess.PIPE)
    deadline = time.monotonic() + SECONDS
    while Lease.read(cli.data) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "Traceback" not in told
    assert Lease.read(cli.data) is None
