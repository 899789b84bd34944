"""What calls of the REST API cost: requests per second beside a floor, in one run, as ratios.

    .venv/bin/python bench/rest.py [rounds] [seconds per measurement] [sessions]

`/health` is compared with a bare JSON route of Starlette that gives the same body; lists of 50 with
one that reads 50 rows; a send, which is a whole turn of an orchestrator that only echoes, with one
committed INSERT. Pages in the middle and at the end of one user's sessions (10,000, or as many as
are asked for) are compared with the first page. `harness.py` says how it is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from functools import partial
from pathlib import Path

from harness import ECHO, HEADER, Server, Target, call, compare, drive, floor, length, mission

from mission_system.core.settings import Settings
from mission_system.core.storage.database import make_database
from mission_system.core.storage.persistence import Transaction

CALLERS = (1, 16)
AIMS = {("health", 1): 0.85, ("health", 16): 0.85, ("send", 1): 0.35, ("send", 16): 0.25}
"""The least ratios that are wanted, by what is compared and callers."""
PAGE_AIM = 1 / 1.5
"""Of a page of whatever depth, beside the first."""

ROWS = 50
SESSIONS = 10_000
TOGETHER = 10_000  # sessions stored in one unit
PAGER = "pager"
CHAT = "/api/v1/chat"


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


def pages(ours: Server, sessions: int) -> dict[str, Target]:
    """By offset, after the order of the sessions was read once."""
    found: dict[str, Target] = {}
    for name, offset in {
        "first": 0,
        "middle": max(0, sessions // 2 - ROWS),
        "deepest": max(0, sessions - ROWS),
    }.items():
        path = f"{CHAT}/sessions?user_id={PAGER}&limit={ROWS}&offset={offset}"
        found[f"{name} page of {sessions:,} sessions"] = target = get(ours, path)
        assert len(json.loads(call(target))) == min(ROWS, sessions)
    return found


async def fill(data: Path, sessions: int) -> None:
    """Sessions of one user, as rows, before the server starts."""
    database = make_database(Settings(data=data))
    await database.open()

    async def unit(tx: Transaction, first: int) -> None:
        numbers = range(first, min(first + TOGETHER, sessions))
        await tx.execute_many(
            "INSERT INTO stream (id, name, last_seq, first_seq) VALUES (?, ?, 0, 1)",
            [(n + 1, f"session {n}") for n in numbers],
        )
        await tx.execute_many(
            "INSERT INTO session (id, public_id, user_id, message_count, created_at, last_activity)"
            " VALUES (?, ?, ?, 0, ?, ?)",
            [(n + 1, f"session-{n}", PAGER, n, n) for n in numbers],
        )

    try:
        for first in range(0, sessions, TOGETHER):
            await database.write(partial(unit, first=first))
    finally:
        await database.close()


def main(rounds: int, seconds: float, sessions: int = SESSIONS) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(fill(Path(folder) / "data", sessions))
        measure(Path(folder), rounds, seconds, sessions)


def measure(folder: Path, rounds: int, seconds: float, sessions: int) -> None:
    with (
        floor(folder) as plain,
        mission(folder, ECHO, MISSION_DEFAULT_CAPABILITY="echo") as ours,
    ):
        for name, (least, mine) in pairs(plain, ours).items():
            for target in (least, mine):
                drive(target, 4, seconds / 2)
            print(f"{name}, medians of {rounds} rounds")
            print(HEADER)
            for callers in CALLERS:
                aim = AIMS.get((name, callers))
                print(compare(least, mine, callers, rounds, seconds, aim), flush=True)
        first, *others = pages(ours, sessions).items()
        for name, target in others:
            print(f"{name} beside the {first[0]}, medians of {rounds} rounds")
            print(HEADER)
            for callers in CALLERS:
                print(compare(first[1], target, callers, rounds, seconds, PAGE_AIM), flush=True)


if __name__ == "__main__":
    main(*length(rounds=7, seconds=1.0), *(int(number) for number in sys.argv[3:4]))
