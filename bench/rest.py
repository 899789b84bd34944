"""What calls of the REST API cost: requests per second beside a floor, in one run, as ratios.

    .venv/bin/python bench/rest.py [rounds] [seconds per measurement]

`/health` is compared with a bare JSON route of Starlette that gives the same body; lists of 50 with
one that reads 50 rows; a send, which is a whole turn of an orchestrator that only echoes, with one
committed INSERT. `harness.py` says how it is measured.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from harness import HEADER, Server, Target, call, compare, drive, floor, length, mission

CALLERS = (1, 16)
AIMS = {("health", 1): 0.85, ("health", 16): 0.85, ("send", 1): 0.35, ("send", 16): 0.25}
"""The least ratios that are wanted, by what is compared and callers."""

ROWS = 50
CHAT = "/api/v1/chat"

PLUGIN = """
from mission_system import OrchestratorSpec, hookimpl

async def echo(mission):
    return mission.message

@hookimpl
def register_orchestrators(context):
    return [OrchestratorSpec("echo", echo, max_concurrent=1000)]
"""


def get(server: Server, path: str) -> Target:
    return Target.of(server, path, "", "GET")


def send(server: Server, user: str, session: str | None = None) -> Target:
    body = json.dumps({"message": "hi", "session_id": session})
    return Target.of(server, f"{CHAT}/messages?user_id={user}", body)


def pairs(plain: Server, ours: Server) -> dict[str, tuple[Target, Target]]:
    """What is measured, each beside its floor; the lists are full once this returns."""
    for _ in range(ROWS - 1):
        call(send(ours, "reader"))
    session = json.loads(call(send(ours, "reader")))["session_id"]
    for _ in range(ROWS // 2 - 1):
        call(send(ours, "reader", session))
    rows = Target.of(plain, "/rows", "{}")
    inserting = Target.of(plain, "/insert", json.dumps({"text": "hi"}))
    listing = f"{CHAT}/sessions?user_id=reader&limit={ROWS}"
    messages = f"{CHAT}/sessions/{session}/messages?user_id=reader&limit={ROWS}"
    return {
        "health": (get(plain, "/probe"), get(ours, "/health")),
        f"list of {ROWS} sessions": (rows, get(ours, listing)),
        f"list of {ROWS} messages": (rows, get(ours, messages)),
        "send": (inserting, send(ours, "writer")),
    }


def main(rounds: int, seconds: float) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        floor(Path(folder)) as plain,
        mission(Path(folder), PLUGIN, MISSION_DEFAULT_CAPABILITY="echo") as ours,
    ):
        for name, (least, mine) in pairs(plain, ours).items():
            for target in (least, mine):
                drive(target, 4, seconds / 2)
            print(f"{name}, medians of {rounds} rounds")
            print(HEADER)
            for callers in CALLERS:
                aim = AIMS.get((name, callers))
                print(compare(least, mine, callers, rounds, seconds, aim), flush=True)


if __name__ == "__main__":
    main(*length(rounds=7, seconds=1.0))
