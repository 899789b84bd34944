"""A server killed with -9 loses nothing, repeats nothing that had finished, and tells it once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from ..conftest import Cli, Server

PLUGIN = '''
import asyncio, pathlib
from mission_system import OrchestratorSpec, hookimpl, tool


@tool
async def work(file: str, number: int) -> str:
    """Leave a trace before and after waiting for its gate to open."""
    note(file, f"start {number}")
    while not pathlib.Path(f"{file}.gate{number}").exists():
        await asyncio.sleep(0.01)
    note(file, f"end {number}")
    return f"part {number}"


def note(file, text):
    with open(file, "a") as trace:
        trace.write(text + "\\n")


async def five(mission):
    parts = []
    for number in range(1, 6):
        async with mission.stage(f"stage {number}"):
            parts.append(await mission.tools.work(file=mission.message, number=number))
    return ", ".join(parts)


async def asks(mission):
    first = await mission.tools.work(file=mission.message, number=1)
    answer = await mission.clarify("Go on?", options=["yes", "no"])
    return f"{first}, {answer}, {await mission.tools.work(file=mission.message, number=2)}"


@hookimpl
def register_tools(context):
    return [work]


@hookimpl
def register_orchestrators(context):
    return [OrchestratorSpec("five", five), OrchestratorSpec("asks", asks)]
'''

CREATE = "mutation { createSession(input: {}) { ... on CreateSessionPayload { session { id } } } }"
SEND = """
mutation ($session: ID!, $text: String!, $capability: String!) {
  sendMessage(input: {sessionId: $session, text: $text, capability: $capability, wait: false}) {
    __typename ... on SendMessagePayload { process { pid } }
  }
}
"""
EVENTS = """
subscription ($session: ID!, $after: String!) {
  sessionEvents(sessionId: $session, after: $after) { cursor seq type pid payload }
}
"""
PROCESS = """
query ($pid: ID!) {
  process(id: $pid) { state outcome reply interrupts { id question } steps { key status } }
}
"""
ANSWER = """
mutation ($id: ID!) {
  answerClarification(input: {interruptId: $id, answer: "yes"}) {
    __typename ... on AnswerPayload { process { reply } }
  }
}
"""


@pytest.fixture
def server(cli: Cli) -> Iterator[Server]:
    cli.install("tested", PLUGIN)
    with cli.server() as server:
        yield server


class Subscriber:
    """Reads a session's events, and goes on from its cursor when it is cut off."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.cursor = ""
        self.events: list[dict[str, Any]] = []
        self.connected = asyncio.Event()

    async def read(self, server: Server, until: str) -> None:
        variables = {"session": self.session, "after": self.cursor}
        async with server.subscribe(EVENTS, **variables) as results:
            self.connected.set()
            async for data in results:
                event = data["sessionEvents"]
                self.events.append(event)
                self.cursor = event["cursor"]
                if event["type"] == until:
                    return


async def begin(server: Server, capability: str, trace: Path) -> tuple[str, str]:
    session = (await server.execute(CREATE))["createSession"]["session"]["id"]
    variables = {"session": session, "text": str(trace), "capability": capability}
    sent = (await server.execute(SEND, **variables))["sendMessage"]
    return session, sent["process"]["pid"]


def open_gates(trace: Path, *numbers: int) -> None:
    for number in numbers:
        trace.with_name(f"{trace.name}.gate{number}").touch()


async def until_traced(trace: Path, line: str) -> None:
    async with asyncio.timeout(30):
        while not trace.exists() or line not in trace.read_text():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("killed_in", [(3,), (1, 2, 5)])
async def test_killed_server_completes_its_work_and_repeats_no_finished_step(
    server: Server, tmp_path: Path, killed_in: tuple[int, ...]
) -> None:
    trace = tmp_path / "trace"
    open_gates(trace, *{1, 2, 3, 4, 5} - set(killed_in))
    session, pid = await begin(server, "five", trace)
    subscriber = Subscriber(session)
    for number in killed_in:
        subscriber.connected.clear()
        reading = asyncio.create_task(subscriber.read(server, "process.completed"))
        await subscriber.connected.wait()
        await until_traced(trace, f"start {number}")
        server.kill()
        with pytest.raises(ConnectionClosed):
            await reading
        open_gates(trace, number)
        server.start()
    async with asyncio.timeout(30):
        await subscriber.read(server, "process.completed")

    process = (await server.execute(PROCESS, pid=pid))["process"]
    assert process["outcome"] == "COMPLETED"
    assert process["reply"] == "part 1, part 2, part 3, part 4, part 5"
    assert [step["status"] for step in process["steps"]] == ["COMPLETED"] * 5

    lines = Counter(trace.read_text().split("\n"))
    assert [lines[f"end {n}"] for n in range(1, 6)] == [1] * 5
    assert [lines[f"start {n}"] for n in range(1, 6)] == [
        2 if n in killed_in else 1 for n in range(1, 6)
    ]

    assert [event["seq"] for event in subscriber.events] == list(
        range(1, len(subscriber.events) + 1)
    )
    told = Counter((e["type"], e["payload"].get("stage")) for e in subscriber.events)
    for number in range(1, 6):
        assert told["stage.started", f"stage {number}"] == 1
        assert told["stage.completed", f"stage {number}"] == 1
    assert told["process.completed", None] == 1
    assert told["tool.completed", None] == 5


async def test_answer_after_a_kill_resumes_the_process(server: Server, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    open_gates(trace, 1, 2, 3, 4, 5)
    session, pid = await begin(server, "asks", trace)
    await Subscriber(session).read(server, "interrupt.raised")
    server.kill()
    server.start()
    process = (await server.execute(PROCESS, pid=pid))["process"]
    assert [question["question"] for question in process["interrupts"]] == ["Go on?"]
    answer = await server.execute(ANSWER, id=process["interrupts"][0]["id"])
    assert answer["answerClarification"]["process"]["reply"] == "part 1, yes, part 2"
    assert trace.read_text().split() == ["start", "1", "end", "1", "start", "2", "end", "2"]


async def test_client_that_disconnects_does_not_stop_the_run(
    server: Server, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    open_gates(trace, 1, 2, 3, 4, 5)
    session, pid = await begin(server, "five", trace)
    async with server.subscribe(EVENTS, session=session, after="") as results:
        await anext(results)
    later = Subscriber(session)
    async with asyncio.timeout(30):
        await later.read(server, "process.completed")
    assert (await server.execute(PROCESS, pid=pid))["process"]["outcome"] == "COMPLETED"
