"""What GraphQL costs, from HTTP or a WebSocket to the services and back, beside bare floors.

    .venv/bin/python bench/graphql.py [rounds] [seconds per measurement]

A floor does what it must with Starlette and JSON alone: answer a constant, make 100 objects of 10
fields, read 50 rows, keep one row, send an event to 200 sockets. `harness.py` says how it is
measured.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from statistics import median

from harness import (
    HEADER,
    Server,
    Target,
    aimed,
    call,
    compare,
    floor,
    graphql,
    length,
    mission,
    shared,
)
from sockets import Client, close, receive_until

CALLERS = (1, 16)
AIMS = {"hello": 0.3, "100 x 10 fields": 0.25}
"""The least ratios that are wanted, by what is compared."""
FAN_OUT_AIM = 0.5

FOLLOWERS = 200
EVENTS = 50
SESSIONS = 50

PLUGIN = """
from mission_system import OrchestratorSpec, hookimpl

async def echo(mission):
    return mission.message

async def ticks(mission):
    for number in range(int(mission.message)):
        await mission.emit("tick", {"number": number})
    return "done"

@hookimpl
def register_orchestrators(context):
    items = [
        OrchestratorSpec(f"item{number}", echo, description="What it is for.")
        for number in range(97)  # at least 100 with those below and the built-in one
    ]
    echoing = OrchestratorSpec("echo", echo, max_concurrent=1000)
    return [echoing, OrchestratorSpec("ticks", ticks), *items]
"""

HELLO = "{ __typename }"
ITEMS = """{ capabilities { id name version description maxConcurrent isDefault
  a: name b: version c: description d: maxConcurrent } }"""
LIST = "{ sessions(first: 50) { nodes { id sessionId title messageCount createdAt } } }"
TURN = """mutation ($input: SendMessageInput!) { sendMessage(input: $input) {
  ... on SendMessagePayload { process { pid sessionId state outcome reply } } } }"""
CREATE = """mutation ($input: CreateSessionInput!) { createSession(input: $input) {
  ... on CreateSessionPayload { session { sessionId } } } }"""
FOLLOW = """subscription ($id: ID!) { sessionEvents(sessionId: $id, after: "") {
  seq type payload createdAt } }"""


def created(server: Server, title: str) -> str:
    """The id of a new session."""
    answer = json.loads(call(graphql(server, CREATE, input={"title": title})))
    session: str = answer["data"]["createSession"]["session"]["sessionId"]
    return session


def pairs(plain: Server, server: Server) -> dict[str, tuple[Target, Target]]:
    """What is compared: a floor's request and ours, by name."""
    turn = {"text": "hi", "capability": "echo"}
    found = {
        "hello": (Target.of(plain, "/hello", "{}"), graphql(server, HELLO)),
        "100 x 10 fields": (Target.of(plain, "/items", "{}"), graphql(server, ITEMS)),
        "50 sessions": (Target.of(plain, "/rows", "{}"), graphql(server, LIST)),
        "a turn": (
            Target.of(plain, "/insert", '{"text": "hi"}'),
            graphql(server, TURN, input=turn),
        ),
    }
    # A quick refusal would look well.
    assert b'"TERMINATED"' in call(found["a turn"][1])
    for name, count in (("100 x 10 fields", 100), ("50 sessions", 50)):
        answer = call(found[name][1])
        assert answer.count(b'"id"') >= count, (name, answer)
    return found


def delivered(clients: list[Client], trigger: Target, last: bytes) -> tuple[float, float]:
    """Messages per second, and processor seconds of each, that `trigger` sends to all clients."""
    processor, began = trigger.server.processor_seconds(), time.perf_counter()
    call(trigger)
    count = receive_until(clients, last)
    took = time.perf_counter() - began
    return count / took, (trigger.server.processor_seconds() - processor) / count


def subscribed(server: Server, session: str) -> list[Client]:
    clients = []
    for _ in range(FOLLOWERS):
        client = Client(server, "/graphql", "graphql-transport-ws")
        client.send({"type": "connection_init"})
        client.receive()
        payload = {"query": FOLLOW, "variables": {"id": session}}
        client.send({"type": "subscribe", "id": "1", "payload": payload})
        clients.append(client)
    receive_until(clients, b"chat.session.created")
    return clients


def fan_out(plain: Server, server: Server, rounds: int) -> str:
    """The report on many subscribers of one session."""
    session = created(server, "followed")
    followers = [Client(plain, "/follow") for _ in range(FOLLOWERS)]
    subscribers = subscribed(server, session)
    last = f'"number":{EVENTS - 1}'.encode()
    least = Target.of(plain, "/broadcast", json.dumps({"count": EVENTS}))
    message = {"text": str(EVENTS), "capability": "ticks", "sessionId": session, "wait": False}
    ours = graphql(server, TURN, input=message)
    floors, measured = [], []
    for _ in range(rounds):
        floors.append(delivered(followers, least, last))
        measured.append(delivered(subscribers, ours, last))
    close(followers)
    close(subscribers)
    ratio = median(mine[0] / bare[0] for mine, bare in zip(measured, floors, strict=True))
    processor = median(mine[1] for mine in measured)
    return (
        f"{FOLLOWERS:>7} {median(bare[0] for bare in floors):>8.0f}"
        f" {median(mine[0] for mine in measured):>8.0f} {ratio:>6.3f}"
        f" {aimed(FAN_OUT_AIM)} {'':>17} {processor * 1e6:>7.0f}"
        f" {shared(median(bare[1] for bare in floors), processor):>10.3f}"
    )


def main(rounds: int, seconds: float) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        floor(Path(folder)) as plain,
        mission(Path(folder), PLUGIN, MISSION_DEFAULT_CAPABILITY="echo") as server,
    ):
        for number in range(SESSIONS):
            created(server, f"Session {number}")
        print(f"medians of {rounds} rounds")
        print(f"{'':<16} {HEADER}")
        for name, (least, ours) in pairs(plain, server).items():
            for callers in CALLERS:
                line = compare(least, ours, callers, rounds, seconds, AIMS.get(name))
                print(f"{name:<16} {line}", flush=True)
        print(f"{'fan-out':<16} {fan_out(plain, server, rounds)}")


if __name__ == "__main__":
    main(*length(rounds=7, seconds=1.0))
