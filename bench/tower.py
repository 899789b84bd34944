"""What a turn costs: requests per second beside a floor, in one run, as ratios.

    .venv/bin/python bench/tower.py [rounds] [seconds per measurement]

The floor is Starlette and one committed INSERT a request. A turn is a whole `sendMessage` of an
orchestrator that only echoes: two units, GraphQL in and out. `harness.py` says how it is measured.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import median

from harness import HEADER, Server, Target, call, compare, drive, floor, length, mission
from harness import graphql as operation

CALLERS = (1, 16, 64)
AIMS = {
    ("GraphQL", 1): 0.25,
    ("GraphQL", 16): 0.12,
    ("REST", 1): 0.35,
    ("REST", 16): 0.25,
}
"""The least ratios that are wanted, by surface and callers."""

STEPS = 20

PLUGIN = """
from mission_system import OrchestratorSpec, hookimpl

async def echo(mission):
    return mission.message

async def steps(mission):
    for _ in range(int(mission.message)):
        await mission.step("one", one)
    return mission.message

async def one() -> int:
    return 1

@hookimpl
async def runtime_started(context, runtime):
    global writer
    writer = runtime.persistence._writer

async def batches(mission):
    return f"{writer.units} {writer.batches}"

@hookimpl
def register_orchestrators(context):
    return [OrchestratorSpec(f.__name__, f, max_concurrent=1000) for f in (echo, steps, batches)]
"""

PROCESS = "process { pid sessionId state outcome reply }"


def graphql(server: Server, capability: str, text: str, fields: str = PROCESS) -> Target:
    query = (
        "mutation ($input: SendMessageInput!) { sendMessage(input: $input) {"
        f" ... on SendMessagePayload {{ {fields} }} }} }}"
    )
    return operation(server, query, input={"text": text, "capability": capability})


def graphql_and_session(server: Server, capability: str, text: str) -> Target:
    session = "session { sessionId messageCount lastActivity lastCursor }"
    return graphql(server, capability, text, f"{PROCESS} {session}")


def rest(server: Server, _capability: str, text: str) -> Target:
    """In a session of its own, like the others; the capability is the server's default one."""
    return Target.of(server, "/api/v1/chat/messages?user_id=local", json.dumps({"message": text}))


SURFACES = {
    "GraphQL": graphql,
    "GraphQL, session read back": graphql_and_session,
    "REST": rest,
}
"""Ways to ask for a turn; another surface is another line."""


def written(server: Server) -> tuple[int, int]:
    """Units and batches that the server has committed."""
    answer = json.loads(call(graphql(server, "batches", "?")))
    units, batches = answer["data"]["sendMessage"]["process"]["reply"].split()
    return int(units), int(batches)


def line(
    least: Target, turn: Target, callers: int, rounds: int, seconds: float, aim: float | None
) -> str:
    """One line of the report."""
    units, batches = written(turn.server)
    compared = compare(least, turn, callers, rounds, seconds, aim)
    after = written(turn.server)
    return f"{compared} {(after[0] - units) / max(1, after[1] - batches):>12.1f}"


def step_cost(server: Server, callers: int, rounds: int, seconds: float) -> tuple[float, float]:
    """Milliseconds, and those of them on the processor, that one step adds to a turn."""
    costs = []
    for _ in range(rounds):
        without, beside = (
            drive(graphql(server, "steps", str(number)), callers, seconds) for number in (0, STEPS)
        )
        costs.append((1 / beside.rate - 1 / without.rate, beside.processor - without.processor))
    wall, processor = (median(cost) / STEPS * 1000 for cost in zip(*costs, strict=True))
    return wall, processor


def main(rounds: int, seconds: float) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        floor(Path(folder)) as plain,
        mission(Path(folder), PLUGIN, MISSION_DEFAULT_CAPABILITY="echo") as server,
    ):
        least = Target.of(plain, "/insert", json.dumps({"text": "hi"}))
        drive(least, 4, 1.0)
        for surface, target in SURFACES.items():
            turn = target(server, "echo", "hi")
            drive(turn, 4, 1.0)
            print(f"{surface}, medians of {rounds} rounds")
            print(f"{HEADER}  units/batch")
            for callers in CALLERS:
                aim = AIMS.get((surface, callers))
                print(line(least, turn, callers, rounds, seconds, aim), flush=True)
        for callers in CALLERS[:2]:
            wall, processor = step_cost(server, callers, rounds, seconds)
            print(f"a journaled step, {callers:>2} callers: {wall:.3f} ms, {processor:.3f} on cpu")


if __name__ == "__main__":
    main(*length(rounds=7, seconds=1.0))
