"""Connections: whole in both directions, truthful of what lies beyond, stable while they grow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from mission_system.core.clock import now
from mission_system.core.node import Node

from .conftest import Client, Json

COUNT = 5
PAGE = (
    "edges { cursor node { %s } } nodes { %s }"
    " pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
)
ARGUMENTS = "first: $first, after: $after, last: $last, before: $before"

LISTS = {
    "sessions": ("sessions(%s) { %s }", "sessionId"),
    "processes": ("processes(%s) { %s }", "pid"),
    "interrupts": ("interrupts(%s) { %s }", "interruptId"),
    "search": ('search(query: "clarify", %s) { %s }', "message { messageId }"),
    "processes of a session": ("session(id: $id) { processes(%s) { %s } }", "pid"),
    "messages of a session": ("session(id: $id) { messages(%s) { %s } }", "messageId"),
    "events of a session": ("session(id: $id) { events(%s) { %s } }", "seq"),
    "events of a process": ("process(id: $pid) { events(%s) { %s } }", "seq"),
}


@pytest.fixture
async def ids(client: Client) -> Json:
    """A session with processes that ask, and as many sessions with one."""
    first = (await client.send("/clarify 0"))["process"]
    for number in range(1, COUNT):
        await client.send(f"/clarify {number}", sessionId=first["sessionId"])
        await client.send(f"/clarify {number}")
    return {"id": first["sessionId"], "pid": first["pid"]}


def query(name: str) -> str:
    field, node = LISTS[name]
    variables = "$first: Int, $after: String, $last: Int, $before: String"
    variables += ", $id: ID!" * ("$id" in field) + ", $pid: ID!" * ("$pid" in field)
    return f"query List({variables}) {{ {field % (ARGUMENTS, PAGE % (node, node))} }}"


async def read(client: Client, name: str, ids: Json, **part: Any) -> Json:
    text = query(name)
    data = await client.data(text, **{k: v for k, v in ids.items() if f"${k}:" in text}, **part)
    while "pageInfo" not in data:
        [data] = data.values()
    assert [edge["node"] for edge in data["edges"]] == data["nodes"]
    cursors = [edge["cursor"] for edge in data["edges"]] or [None]
    assert data["pageInfo"]["startCursor"] == cursors[0]
    assert data["pageInfo"]["endCursor"] == cursors[-1]
    return data


async def walked(client: Client, name: str, ids: Json, size: int, back: bool) -> list[list[Json]]:
    """Page by page, in the order of reading."""
    ahead, behind = (
        ("hasPreviousPage", "hasNextPage") if back else ("hasNextPage", "hasPreviousPage")
    )
    pages: list[list[Json]] = []
    cursor: str | None = None
    while True:
        part = {"last": size, "before": cursor} if back else {"first": size, "after": cursor}
        page = await read(client, name, ids, **part)
        pages.append(page["nodes"])
        info = page["pageInfo"]
        assert info[behind] is (len(pages) > 1)
        cursor = info["startCursor" if back else "endCursor"]
        if not info[ahead]:
            return pages


@pytest.mark.parametrize("name", LISTS)
async def test_both_directions_give_every_item_once_and_in_one_order(
    client: Client, ids: Json, name: str
) -> None:
    everything = (await read(client, name, ids, first=200))["nodes"]
    assert len(everything) >= COUNT
    for size in (1, 2, len(everything) - 1, len(everything), len(everything) + 1):
        forward = await walked(client, name, ids, size, back=False)
        assert [node for page in forward for node in page] == everything, size
        backward = await walked(client, name, ids, size, back=True)
        assert [node for page in reversed(backward) for node in page] == everything, size
    assert [len(page) for page in forward] == [len(everything)]


@pytest.mark.parametrize("name", LISTS)
async def test_a_window_is_what_lies_between_two_cursors(
    client: Client, ids: Json, name: str
) -> None:
    edges = (await read(client, name, ids, first=200))["edges"]
    cursors, nodes = [e["cursor"] for e in edges], [e["node"] for e in edges]
    part = {"after": cursors[0], "before": cursors[-1]}
    for more in ({}, {"first": 200}, {"last": 200}):
        page = await read(client, name, ids, **part, **more)
        assert page["nodes"] == nodes[1:-1]
        assert page["pageInfo"]["hasNextPage"] is page["pageInfo"]["hasPreviousPage"] is True
    assert (await read(client, name, ids, **part, first=2))["nodes"] == nodes[1:3]
    assert (await read(client, name, ids, **part, last=2))["nodes"] == nodes[-3:-1]
    nothing = await read(client, name, ids, after=cursors[0], before=cursors[1])
    assert nothing["nodes"] == []
    assert nothing["pageInfo"]["hasNextPage"] is nothing["pageInfo"]["hasPreviousPage"] is True
    end = await read(client, name, ids, after=cursors[-1])
    assert (end["nodes"], end["pageInfo"]["hasNextPage"]) == ([], False)
    beginning = await read(client, name, ids, last=9, before=cursors[0])
    assert (beginning["nodes"], beginning["pageInfo"]["hasPreviousPage"]) == ([], False)


@pytest.mark.parametrize("name", LISTS)
async def test_what_is_added_meanwhile_shifts_nothing(client: Client, ids: Json, name: str) -> None:
    for back in (False, True):
        there = (await read(client, name, ids, first=200))["nodes"]
        part: Json = {"last": 2} if back else {"first": 2}
        page = await read(client, name, ids, **part)
        seen, growing = page["nodes"], 3
        while page["pageInfo"]["hasPreviousPage" if back else "hasNextPage"]:
            if growing:
                await client.send("/clarify more", sessionId=ids["id"])
                growing -= 1
            end = page["pageInfo"]["startCursor" if back else "endCursor"]
            page = await read(client, name, ids, **part, **{"before" if back else "after": end})
            seen = [*page["nodes"], *seen] if back else [*seen, *page["nodes"]]
        keys = [str(node) for node in seen]
        assert len(set(keys)) == len(keys)
        # A session that was active moves to the front: it may be passed, the others may not.
        passed = [node for node in there if node not in seen]
        assert passed in ([], [{"sessionId": ids["id"]}])


@pytest.mark.parametrize("name", LISTS)
async def test_what_no_list_gave_out_is_refused_by_its_name(
    client: Client, ids: Json, name: str
) -> None:
    text = query(name)
    given = {k: v for k, v in ids.items() if f"${k}:" in text}
    foreign = "WyJhIiwiYiIsImMiXQ"  # ["a","b","c"]
    for field, part in (
        ("first", {"first": 0}), ("first", {"first": 201}), ("last", {"last": 0}),
        ("last", {"last": 201}), ("last", {"first": 1, "last": 1}), ("after", {"after": "?"}),
        ("after", {"after": foreign}), ("before", {"before": foreign}),
        ("before", {"before": "x" * 256}), ("after", {"after": "\0"}),
    ):  # fmt: skip
        error = await client.error(text, **given, **part)
        assert error["extensions"] == {"code": "INVALID_INPUT", "field": field}, part


async def test_events_that_are_gone_are_not_passed_over_in_silence(
    client: Client, node: Node, ids: Json
) -> None:
    edges = (await read(client, "events of a session", ids, first=200))["edges"]
    session = await node.chat.get_session(client.caller, ids["id"])
    await node.database.write(lambda tx: _cut(tx, session.id, 4))
    for name, variable in (("events of a session", "id"), ("events of a process", "pid")):
        error = await client.error(
            query(name), **{variable: ids[variable]}, first=2, after=edges[1]["cursor"]
        )
        oldest = edges[2]["cursor"]
        assert error["extensions"] == {"code": "CURSOR_EXPIRED", "oldest": oldest}
    rest = await read(client, "events of a session", ids, first=2, after=edges[2]["cursor"])
    assert [event["seq"] for event in rest["nodes"]] == [4, 5]
    assert rest["pageInfo"]["hasPreviousPage"] is False


async def _cut(tx: Any, stream: int, first: int) -> None:
    await tx.execute("DELETE FROM event WHERE stream_id = ? AND seq < ?", (stream, first))
    await tx.execute("UPDATE stream SET first_seq = ? WHERE id = ?", (first, stream))


async def test_history_that_was_read_is_followed_without_gap_or_repeat(
    client: Client, ids: Json
) -> None:
    page = await read(client, "events of a session", ids, last=3)
    after = page["pageInfo"]["endCursor"]
    follow = (
        "subscription F($id: ID!, $a: String) { sessionEvents(sessionId: $id, after: $a) { seq } }"
    )
    events: AsyncIterator[Json] = client.follow(follow, id=ids["id"], a=after)
    await client.send("more", sessionId=ids["id"])
    async with asyncio.timeout(20):
        seqs = [event["seq"] for event in page["nodes"]] + [(await anext(events))["seq"]]
    assert all(b == a + 1 for a, b in pairwise(seqs))


async def test_messages_are_counted_where_that_is_cheap(client: Client, ids: Json) -> None:
    count = (
        "query C($id: ID!) { session(id: $id) { messageCount"
        " messages(first: 1) { totalCount } deleted: messages(includeDeleted: true) { totalCount"
        " nodes { id } } } }"
    )
    session = (await client.data(count, id=ids["id"]))["session"]
    assert session["messages"]["totalCount"] == session["messageCount"] > 1
    assert session["deleted"]["totalCount"] is None
    assert len(session["deleted"]["nodes"]) == session["messageCount"]


async def test_sessions_of_one_moment_are_told_apart(client: Client, node: Node) -> None:
    """Activity is measured in microseconds: a copied or imported list may share one."""
    for _ in range(4):
        await node.chat.create_session(client.caller)
    moment = now()
    await node.database.write(
        lambda tx: tx.execute("UPDATE session SET last_activity = ?", (moment,))
    )
    for back in (False, True):
        pages = await walked(client, "sessions", {}, 1, back)
        assert len({str(page) for page in pages}) == 4
