"""A server killed while it makes its search index finds all there is afterwards, and each once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from databases import ChosenDatabases

from mission_system.core.chat.search.pages import all_ids

if TYPE_CHECKING:
    from ..conftest import Cli, Server

ROUNDS = 3
TURNS = 300  # said in each round: more than makes a block, with their answers
SESSIONS = 8
SECONDS = 120.0  # a guard against hanging
API = "/api/v1"
QUERIES = ["said", "number 1", "NUMBER 2", "É 2", "日本", "🙂", "%", "r", "no such text", "9 é 日"]
PROGRESS = """
SELECT (SELECT MAX(message_id) FROM search_mark) AS mark,
       (SELECT COUNT(*) FROM search_page) AS pages,
       (SELECT MAX(id) FROM search_block WHERE state = 0) AS unfinished
"""
BEHIND = """
SELECT (SELECT COUNT(*) FROM message
        WHERE id > (SELECT MAX(message_id) FROM search_mark)) AS messages,
       (SELECT COUNT(*) FROM search_block WHERE state = 0) AS unfinished
"""
HELD = """
SELECT p.body, NULL AS message_id FROM search_page p JOIN search_block b ON b.id = p.block_id
WHERE b.state = 1 AND p.first_key < 0 UNION ALL SELECT NULL, message_id FROM search_tail
"""
"""All that the index holds, at one moment: the ids in blocks, and one by one."""


def test_search_finds_all_once_after_kills_in_the_middle_of_indexing(
    cli: Cli, databases: ChosenDatabases
) -> None:
    server = cli.made()
    sent: set[str] = set()
    try:
        for number in range(ROUNDS):
            before = progress(cli, databases) if number else None
            server.start()
            with ThreadPoolExecutor(1) as talking:
                said = talking.submit(say, server, number, sent)
                # Each time a little later: when messages are noted, when pages are written, ...
                for _ in range(1 + number):
                    before = changed(cli, databases, before)
                server.kill()
                said.result(SECONDS)
        server.start()
        messages = everything(server)
        assert sent <= {each["content"] for each in messages}
        compare(server, messages)  # with an index that is behind
        say(server, ROUNDS, sent)
        messages = everything(server)
        wait_for(lambda: not any(databases.rows(cli.data, BEHIND)[0]))
        compare(server, messages)
        indexed = held(cli, databases)
        assert sorted(indexed) == sorted(each["message_id"] for each in messages)
    finally:
        server.kill()


def say(server: Server, number: int, sent: set[str]) -> None:
    """Say so much in some sessions; `sent` is what was answered before the server was killed."""
    with httpx.Client(base_url=server.url, timeout=SECONDS) as http:

        def one(turn: int) -> None:
            text = f"number {number}-{turn} é 日本語 🙂 100%"
            session = f"{number}-{turn % SESSIONS}"
            body = {"user_message": text, "user_id": "ann", "session_id": session}
            try:
                answer = http.post(f"{API}/requests", json=body)
            except httpx.TransportError:
                return  # the server is gone
            assert answer.status_code == 200, answer.text
            sent.add(text)

        with ThreadPoolExecutor(SESSIONS) as threads:
            list(threads.map(one, range(TURNS)))


def progress(cli: Cli, databases: ChosenDatabases) -> list[Any]:
    [row] = databases.rows(cli.data, PROGRESS)
    return [row[name] for name in ("mark", "pages", "unfinished")]


def changed(cli: Cli, databases: ChosenDatabases, before: list[Any] | None) -> list[Any]:
    """How far the index has come, once it has come further."""
    now = before or progress(cli, databases)
    start = now

    def has_changed() -> bool:
        nonlocal now
        now = progress(cli, databases)
        return now != start

    wait_for(has_changed)
    return now


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def everything(server: Server) -> list[dict[str, Any]]:
    """All messages, the newest first, once nothing is being said any more."""
    wait_for(lambda: not server.get(f"{API}/metrics")["active_processes"])
    messages: list[dict[str, Any]] = []
    for session in server.get(f"{API}/chat/sessions?user_id=ann&limit=200"):
        path = f"{API}/chat/sessions/{session['session_id']}/messages"
        messages += server.get(f"{path}?user_id=ann&limit=500")
    return sorted(messages, key=lambda each: each["message_id"], reverse=True)


def compare(server: Server, messages: list[dict[str, Any]]) -> None:
    """Search finds what looking at each message finds, once and in order."""
    for query in QUERIES:
        wanted = query.casefold()
        expected = [e["message_id"] for e in messages if wanted in e["content"].casefold()]
        found = server.get(f"{API}/chat/search?user_id=ann&limit=500&query={quote(query)}")
        assert [each["message_id"] for each in found] == expected[:500], query


def held(cli: Cli, databases: ChosenDatabases) -> list[int]:
    """The messages that the index holds, as often as it does."""
    rows = databases.rows(cli.data, HELD)
    blocks = [row["body"] for row in rows if row["body"] is not None]
    assert blocks, "no block was made"
    tail = [row["message_id"] for row in rows if row["body"] is None]
    return tail + [id for body in blocks for id in all_ids(body)]
