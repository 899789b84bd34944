"""Subscriptions over plain HTTP: server-sent events and multipart."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx

from .conftest import Http, Json, Server

EVENTS = "text/event-stream"
MULTIPART = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json"
REPLY = """
subscription Reply($id: ID!, $after: String) {
  replyStream(processId: $id, after: $after) {
    __typename
    ... on ReplyDelta { cursor text }
    ... on ReplyFinished { message { content } }
  }
}
"""
SESSION = """
subscription Events($id: ID!, $after: String) {
  sessionEvents(sessionId: $id, after: $after) { cursor seq type }
}
"""


async def server_sent(response: httpx.Response) -> AsyncIterator[tuple[str, Json | None]]:
    """(event, data) of each event; heartbeats are comments and left out."""
    event = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data:"):
            data = line.removeprefix("data:").strip()
            yield event, json.loads(data) if data else None


async def read_events(http: Http, query: str, **variables: object) -> list[tuple[str, Json | None]]:
    body = {"query": query, "variables": variables}
    async with http.client.stream("POST", http.url, json=body, headers={"Accept": EVENTS}) as r:
        assert r.status_code == 200
        assert r.headers["content-type"].startswith(EVENTS)
        return [event async for event in server_sent(r)]


async def test_a_reply_streams_as_server_sent_events(http: Http) -> None:
    process = await http.send("hello " * 50, wait=False)
    *parts, last, complete = await read_events(http, REPLY, id=process["pid"])
    assert complete == ("complete", None)
    assert {name for name, _ in [*parts, last]} == {"next"}
    text = "".join(data["data"]["replyStream"]["text"] for _, data in parts if data)
    assert last[1] is not None
    assert last[1]["data"]["replyStream"]["message"]["content"] == text


async def test_a_subscription_can_be_read_by_get(http: Http) -> None:
    process = await http.send("hello")
    params = {"query": REPLY, "variables": json.dumps({"id": process["pid"]})}
    headers = {"Accept": EVENTS, "GraphQL-Require-Preflight": "1"}
    response = await http.client.get(http.url, params=params, headers=headers)
    assert response.text.count("event: next") > 0
    assert response.text.endswith("event: complete\ndata: \n\n")
    assert "\r" not in response.text  # some readers know no blank line but this one


async def test_a_query_may_be_streamed_and_a_mutation_by_get_may_not(http: Http) -> None:
    assert await read_events(http, "{ viewer { userId } }") == [
        ("next", {"data": {"viewer": {"userId": "local"}}}),
        ("complete", None),
    ]
    mutation = "mutation { createSession(input: {}) { __typename } }"
    refused = await http.get(EVENTS, query=mutation)
    assert '"data"' not in refused.text
    assert "mutations are not allowed" in refused.text


async def test_who_reads_every_form_is_streamed_what_is_a_stream_alone(http: Http) -> None:
    every = f"application/json, {EVENTS}, {MULTIPART}"
    asked = await http.post({"query": "{ viewer { userId } }"}, every)
    assert asked.json() == {"data": {"viewer": {"userId": "local"}}}
    process = await http.send("hello")
    query = REPLY.replace("$id: ID!", f'$id: ID! = "{process["pid"]}"')
    for streamed in (await http.post({"query": query}, every), await http.get(every, query=query)):
        assert streamed.headers["content-type"] == EVENTS
        assert streamed.text.endswith("event: complete\ndata: \n\n")


async def test_an_unknown_process_is_an_error_and_the_end(http: Http) -> None:
    [(name, data), end] = await read_events(http, REPLY, id="none")
    assert (name, end) == ("next", ("complete", None))
    assert data is not None
    assert data["errors"][0]["extensions"] == {"code": "NOT_FOUND"}
    assert "data" not in data


async def test_a_multipart_reply_ends_with_the_message(http: Http) -> None:
    process = await http.send("hello")
    body = {"query": REPLY, "variables": {"id": process["pid"]}}
    response = await http.client.post(http.url, json=body, headers={"Accept": MULTIPART})
    assert response.headers["content-type"].startswith("multipart/mixed;boundary=graphql")
    assert response.text.endswith("\r\n--graphql--\r\n")
    *parts, _ = response.text.split("\r\n--graphql")
    payloads = [json.loads(part.partition("\r\n\r\n")[2]) for part in parts]
    last = payloads[-1]["payload"]
    assert last["data"]["replyStream"]["message"]["content"] == process["reply"]


async def test_a_client_that_leaves_ends_its_subscription(http: Http, server: Server) -> None:
    process = await http.send("hello")
    body = {"query": SESSION, "variables": {"id": process["sessionId"], "after": ""}}
    async with http.client.stream("POST", http.url, json=body, headers={"Accept": EVENTS}) as r:
        assert (await anext(server_sent(r)))[0] == "next"
        assert server.node.followers._tails
    await server.until_nobody_follows()


async def test_a_subscription_taken_up_again_misses_and_repeats_nothing(http: Http) -> None:
    process = await http.send("hello")
    seen: list[int] = []
    after = ""
    while not seen or seen[-1] < 8:
        variables = {"id": process["sessionId"], "after": after}
        body = {"query": SESSION, "variables": variables}
        async with http.client.stream("POST", http.url, json=body, headers={"Accept": EVENTS}) as r:
            events = server_sent(r)
            for _ in range(3):
                _, data = await anext(events)
                assert data is not None
                event = data["data"]["sessionEvents"]
                seen.append(event["seq"])
                after = event["cursor"]
    assert seen == list(range(1, len(seen) + 1))
