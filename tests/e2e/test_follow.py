"""Every event once and in order, over connections that break and servers that are killed."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from javascript import begun, installed
from websockets.exceptions import ConnectionClosed

from .conftest import SECONDS, Cli, Server, execute

ROOT = Path(__file__).parents[2]
CREATE = (
    "mutation { createSession(input: {}) {"
    " ... on CreateSessionPayload { session { sessionId } } } }"
)
SEND = """
mutation Send($input: SendMessageInput!) {
  sendMessage(input: $input) { ... on SendMessagePayload { process { pid } } }
}
"""
STORY = """
query Story($id: ID!, $after: String) {
  session(id: $id) {
    lastCursor
    events(first: 200, after: $after) { nodes { cursor seq type pid payload createdAt }
      pageInfo { hasNextPage endCursor } }
  }
}
"""
PLACES = "query ($id: ID!) { session(id: $id) { events(first: 200) { nodes { cursor } } } }"
PROCESS_EVENTS = """
subscription Events($id: ID!, $after: String) {
  processEvents(processId: $id, after: $after) { cursor seq type }
}
"""
INBOX = "subscription { inbox { waiting { interruptId } added { interruptId } gone { answer } } }"
ANSWER = """
mutation Answer($input: AnswerClarificationInput!) {
  answerClarification(input: $input) { ... on AnswerPayload { process { reply } } }
}
"""

Json = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample of the documentation, as a project that has installed what it imports."""
    found = installed(Path(__file__).with_name("follow"), tmp_path_factory.mktemp("follow"))
    (found / "follow.mjs").write_text((ROOT / "docs" / "follow.mjs").read_text())
    return found


@pytest.fixture
def port() -> str:
    """One that is free: a client comes back to the address that it knows."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


async def on(server: Server, query: str, **variables: Any) -> Json:
    """As the person at this machine, as whom the sample comes too."""
    return await execute(server.url, query, **variables)


async def send(server: Server, session: str, text: str, **given: Any) -> str:
    sent = await on(server, SEND, input={"sessionId": session, "text": text, **given})
    pid: str = sent["sendMessage"]["process"]["pid"]
    return pid


async def story(server: Server, session: str) -> list[Json]:
    """All that the log holds."""
    events: list[Json] = []
    after: str | None = None
    while True:
        page = (await on(server, STORY, id=session, after=after))["session"]["events"]
        events += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return events
        after = page["pageInfo"]["endCursor"]


async def finish(server: Server, session: str) -> None:
    await on(
        server,
        'mutation ($id: ID!) { updateSession(input: {sessionId: $id, title: "over"}) {'
        " __typename } }",
        id=session,
    )


class Told:
    """What the sample prints, as it comes."""

    def __init__(self, out: asyncio.StreamReader) -> None:
        self._out = out
        self.lines: list[Json] = []

    async def until(self, type: str) -> None:
        """Returns once it was told of such an event, or that there is no more."""
        async with asyncio.timeout(SECONDS):
            while line := await self._out.readline():
                self.lines.append(json.loads(line))
                if self.lines[-1].get("type") == type:
                    return

    @property
    def events(self) -> list[Json]:
        return [line for line in self.lines if "seq" in line]


@asynccontextmanager
async def following(
    folder: Path, server: Server, session: str, after: str = ""
) -> AsyncIterator[Told]:
    url = server.url.replace("http", "ws") + "/graphql"
    process = await begun(folder, "print.mjs", url, session, after)
    assert process.stdout is not None
    try:
        yield Told(process.stdout)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_the_sample_tells_each_event_once_over_a_server_that_is_killed(
    cli: Cli, folder: Path, port: str
) -> None:
    with cli.server("--port", port) as server:
        session: str = (await on(server, CREATE))["createSession"]["session"]["sessionId"]
        async with following(folder, server, session) as told:
            await send(server, session, "before")
            await told.until("process.completed")
            await send(server, session, "during", capability="looks", wait=False)
            await told.until("process.created")
            server.kill()  # while the process runs and is followed
            server.start()
            (cli.folder / "go").touch()
            await told.until("process.completed")
            server.stop()
            server.start()
            await send(server, session, "after " * 200)
            await told.until("process.completed")
            await finish(server, session)
            await told.until("")
        assert told.lines[-1] == {"ended": True}
        whole = await story(server, session)
    assert [event["seq"] for event in told.events] == list(range(1, len(whole) + 1))
    assert told.events == whole
    replayed = [event for event in whole if event["payload"].get("reason") == "server_restarted"]
    assert replayed or any("looks: during" in str(event["payload"]) for event in whole)


async def test_the_sample_says_what_is_gone_and_goes_on_from_there(
    cli: Cli, folder: Path, port: str
) -> None:
    with cli.server("--port", port) as server:
        session: str = (await on(server, CREATE))["createSession"]["session"]["sessionId"]
        await send(server, session, "old")
        await on(
            server,
            "mutation { cleanUp(input: {days: 0, keep: 0}) {"
            " ... on CleanUpPayload { events } ... on Error { message } } }",
        )
        await send(server, session, "new")
        await finish(server, session)
        kept = await story(server, session)
        assert kept[0]["seq"] > 1
        async with following(folder, server, session) as told:
            await told.until("")
    gap, *rest, end = told.lines
    assert set(gap) == {"gap"}
    assert (rest, end) == (kept, {"ended": True})


async def test_the_sample_says_what_is_too_large_and_goes_on_after_it(
    cli: Cli, folder: Path, port: str
) -> None:
    cli.environment["MISSION_MAX_RESPONSE_BYTES"] = "8192"
    cli.environment["MISSION_MAX_USER_SUBSCRIPTIONS"] = "1"
    with cli.server("--port", port) as server:
        session: str = (await on(server, CREATE))["createSession"]["session"]["sessionId"]
        await send(server, session, "x" * 10_000)
        await finish(server, session)
        async with following(folder, server, session) as told:
            await told.until("")
        places = (await on(server, PLACES, id=session))["session"]["events"]["nodes"]
    *lines, end = told.lines
    assert end == {"ended": True}
    gaps = [line["gap"] for line in lines if "gap" in line]
    assert gaps
    assert [line.get("gap") or line["cursor"] for line in lines] == [
        each["cursor"] for each in places
    ]


async def test_the_sample_gives_up_what_will_never_pass(cli: Cli, folder: Path, port: str) -> None:
    with cli.server("--port", port) as server:
        async with following(folder, server, "nobody's") as told:
            await told.until("")
        session: str = (await on(server, CREATE))["createSession"]["session"]["sessionId"]
        async with following(folder, server, session, "nonsense") as other:
            await other.until("")
    assert told.lines == [{"refused": "NOT_FOUND"}]
    assert other.lines == [{"refused": "INVALID_INPUT"}]


async def test_events_of_a_process_go_on_where_a_killed_server_left_them(cli: Cli) -> None:
    with cli.server() as server:
        session: str = (await server.execute(CREATE))["createSession"]["session"]["sessionId"]
        given = {"sessionId": session, "text": "x", "capability": "looks", "wait": False}
        sent = await server.execute(SEND, input=given)
        pid = sent["sendMessage"]["process"]["pid"]
        seen: list[Json] = []
        killed = False
        while not seen or seen[-1]["type"] != "process.completed":
            after = seen[-1]["cursor"] if seen else None
            async with server.subscribe(PROCESS_EVENTS, id=pid, after=after) as results:
                try:
                    async for data in results:
                        seen.append(data["processEvents"])
                        if not killed and len(seen) >= 4:
                            server.kill()
                            killed = True
                except ConnectionClosed:
                    server.start()
                    (cli.folder / "go").touch()
        async with server.subscribe(PROCESS_EVENTS, id=pid, after=None) as results:
            whole = [data["processEvents"] async for data in results]
    assert killed
    assert seen == whole


async def test_an_inbox_begins_with_what_waits_after_a_killed_server(cli: Cli) -> None:
    with cli.server() as server:
        session: str = (await server.execute(CREATE))["createSession"]["session"]["sessionId"]
        given = {"sessionId": session, "text": "x", "capability": "boss"}
        await server.execute(SEND, input=given)  # its child asks
        async with server.subscribe(INBOX) as results:
            [asked] = (await anext(results))["inbox"]["added"]
        server.kill()
        server.start()
        async with server.subscribe(INBOX) as results:
            again = (await anext(results))["inbox"]
            assert again["waiting"] == again["added"] == [asked]
            answer = {"interruptId": asked["interruptId"], "answer": "billing"}
            answered = await server.execute(ANSWER, input=answer)
            assert answered["answerClarification"]["process"]["reply"] == "About billing."
            told = (await anext(results))["inbox"]
    assert (told["waiting"], told["gone"]) == ([], [{"answer": "billing"}])
