"""An assistant whose server is killed with -9 in the middle of its work asks no model twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from vendors import Answer, Vendor, serving

if TYPE_CHECKING:
    from ..conftest import Cli, Server

PLUGIN = '''
import asyncio, pathlib
from mission_system import hookimpl, tool


@tool
async def work(file: str, number: int) -> str:
    """Leave a trace before and after waiting for a gate to open."""
    with open(file, "a") as trace:
        trace.write(f"start {number}\\n")
    while not pathlib.Path(f"{file}.gate{number}").exists():
        await asyncio.sleep(0.01)
    with open(file, "a") as trace:
        trace.write(f"end {number}\\n")
    return f"part {number}"


@hookimpl
def register_tools(context):
    return [work]
'''
SEND = """
mutation ($text: String!) {
  sendMessage(input: {text: $text, wait: false}) {
    __typename ... on SendMessagePayload { process { pid } }
  }
}
"""
PROCESS = """
query ($pid: ID!) {
  process(id: $pid) { state outcome error reply steps { kind name } }
}
"""


@pytest.fixture
def model() -> Iterator[Vendor]:
    with serving(Vendor()) as vendor:
        yield vendor


@pytest.fixture
def server(cli: Cli, model: Vendor) -> Iterator[Server]:
    cli.install("tested", PLUGIN)
    cli.environment |= {
        "MISSION_LLM_PROVIDER": "openai",
        "OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": f"{model.url}/v1",
    }
    with cli.server() as server:
        yield server


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def ended(server: Server, pid: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            process: dict[str, Any] = (await server.execute(PROCESS, pid=pid))["process"]
            if process["outcome"] is not None:
                return process
            await asyncio.sleep(0.05)


async def test_killed_in_its_second_tool_call_it_answers_and_asked_the_model_once_a_step(
    server: Server, model: Vendor, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    gates = [trace.with_name(f"trace.gate{number}") for number in (1, 2)]
    model.script = [
        Answer("First.", calls=[("work", {"file": str(trace), "number": 1})]),
        Answer("Then.", calls=[("work", {"file": str(trace), "number": 2})]),
        Answer("All is done."),
    ]
    gates[0].touch()
    sent = await server.execute(SEND, text="Work!")
    pid = sent["sendMessage"]["process"]["pid"]
    await until(lambda: trace.exists() and "start 2" in trace.read_text())
    assert len(model.requests) == 2
    server.kill()
    gates[1].touch()
    server.start()
    process = await ended(server, pid)
    assert (process["outcome"], process["reply"]) == ("COMPLETED", "All is done. ")
    assert len(model.requests) == 3
    assert trace.read_text().split("\n")[:-1] == ["start 1", "end 1", "start 2", "start 2", "end 2"]
    steps = [step["kind"] for step in process["steps"]]
    assert [kind for kind in steps if kind in ("llm", "tool")] == ["llm", "tool"] * 2 + ["llm"]
    last = model.requests[-1]["messages"]
    assert [m["content"] for m in last if m["role"] == "tool"] == ["part 1", "part 2"]


async def test_killed_in_the_middle_of_a_reply_it_begins_that_reply_again_and_no_other(
    server: Server, model: Vendor, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    trace.with_name("trace.gate1").touch()
    gate = threading.Event()
    model.script = [
        Answer("First.", calls=[("work", {"file": str(trace), "number": 1})]),
        Answer("It is nearly done.", gate=gate),
        Answer("It is all done."),
    ]
    try:
        sent = await server.execute(SEND, text="Work!")
        pid = sent["sendMessage"]["process"]["pid"]
        await until(lambda: len(model.requests) == 2)
        server.kill()
    finally:
        gate.set()
    server.start()
    process = await ended(server, pid)
    assert process["reply"] == "It is all done. "
    assert len(model.requests) == 3
    assert model.requests[1]["messages"] == model.requests[2]["messages"]
    assert trace.read_text().split("\n")[:-1] == ["start 1", "end 1"]
