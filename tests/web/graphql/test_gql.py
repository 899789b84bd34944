"""The Python client `gql`: HTTP for what is asked, a WebSocket for what is followed."""

from __future__ import annotations

from typing import Any

import pytest
from gql import Client, GraphQLRequest, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport

from .conftest import Server

SEND = """
mutation Send($input: SendMessageInput!) {
  sendMessage(input: $input) {
    ... on SendMessagePayload { process { pid sessionId state interrupts { interruptId options } } }
    ... on Error { message }
  }
}
"""
ANSWER = """
mutation Answer($input: AnswerClarificationInput!) {
  answerClarification(input: $input) {
    ... on AnswerPayload { process { state reply } }
    ... on Error { message }
  }
}
"""
EVENTS = """
subscription Events($id: ID!, $after: String) {
  sessionEvents(sessionId: $id, after: $after) { type seq cursor }
}
"""


async def take(session: Any, last: str, **variables: Any) -> list[dict[str, Any]]:
    """The events up to the first of the type `last`; then the subscription is left."""
    events: list[dict[str, Any]] = []
    stream = session.subscribe(GraphQLRequest(EVENTS, variable_values=variables))
    async for result in stream:
        events.append(result["sessionEvents"])
        if events[-1]["type"] == last:
            break
    await stream.aclose()
    return events


@pytest.mark.parametrize("fetch_schema", [False, True])
async def test_gql_sends_follows_answers_and_resumes(server: Server, fetch_schema: bool) -> None:
    http = Client(
        transport=HTTPXAsyncTransport(url=server.url, timeout=30),
        fetch_schema_from_transport=fetch_schema,
    )
    socket = Client(transport=WebsocketsTransport(url=server.socket_url))
    async with http as asking, socket as following:
        sent = await asking.execute(
            GraphQLRequest(
                SEND, variable_values={"input": {"text": "which?", "capability": "asks"}}
            )
        )
        process = sent["sendMessage"]["process"]
        assert process["state"] == "WAITING"
        [question] = process["interrupts"]
        asked = await take(following, "interrupt.raised", id=process["sessionId"], after="")
        given = {"interruptId": question["interruptId"], "answer": question["options"][1]}
        answer = GraphQLRequest(ANSWER, variable_values={"input": given})
        answered = await asking.execute(answer)
        assert answered["answerClarification"]["process"] == {
            "state": "TERMINATED",
            "reply": "chose two",
        }
        after = asked[-1]["cursor"]
        rest = await take(following, "process.completed", id=process["sessionId"], after=after)
        seqs = [event["seq"] for event in (*asked, *rest)]
        assert seqs == list(range(1, len(seqs) + 1))
        with pytest.raises(TransportQueryError, match="nothing"):
            await following.execute(gql("{ nothing }"))
        assert (await following.execute(gql("{ viewer { userId } }")))["viewer"]
    await server.until_nobody_follows()
