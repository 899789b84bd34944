"""A process that takes its server with it does so a bounded number of times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..conftest import Cli

SECONDS = 60
PLUGIN = """
import asyncio, os, pathlib
from mission_system import OrchestratorSpec, hookimpl


async def poison(mission):
    while not pathlib.Path(mission.message).exists():
        await asyncio.sleep(0.01)
    os._exit(9)


@hookimpl
def register_orchestrators(context):
    return [OrchestratorSpec("poison", poison)]
"""
SEND = """
mutation ($text: String!) {
  sendMessage(input: {text: $text, capability: "poison", wait: false}) {
    __typename ... on SendMessagePayload { process { pid } }
  }
}
"""
PROCESS = "query ($pid: ID!) { process(id: $pid) { state reason error } }"


async def test_process_that_kills_its_server_is_blocked_in_the_end(
    cli: Cli, tmp_path: Path
) -> None:
    cli.install("poisonous", PLUGIN)
    with cli.server() as server:
        gate = tmp_path / "gate"
        sent = await server.execute(SEND, text=str(gate))
        pid = sent["sendMessage"]["process"]["pid"]
        gate.touch()
        assert server.process.wait(SECONDS) == 9
        for _ in range(3):
            server.spawn()
            assert server.process.wait(SECONDS) == 9
        server.start()
        process = (await server.execute(PROCESS, pid=pid))["process"]
        assert (process["state"], process["reason"]) == ("BLOCKED", "crashed_repeatedly")
        assert "4 times in a row" in process["error"]
