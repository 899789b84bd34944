"""Forks, as clients ask for them."""

from __future__ import annotations

from .conftest import Client

FORK = (
    "mutation F($input: ForkProcessInput!) { forkProcess(input: $input) { __typename"
    " ... on ForkProcessPayload { process { pid text session { sessionId } steps { key } } }"
    " ... on Error { message } ... on InvalidInput { field } } }"
)


async def test_process_is_forked_with_another_message(client: Client) -> None:
    origin = (await client.send("hello"))["process"]
    sent = {"processId": origin["id"], "steps": 0, "text": "another"}
    fork = (await client.data(FORK, input=sent))["forkProcess"]["process"]
    assert (fork["text"], fork["pid"] != origin["pid"]) == ("another", True)
    assert fork["session"]["sessionId"] != origin["sessionId"]


async def test_steps_that_were_never_done_cannot_be_shared(client: Client) -> None:
    origin = (await client.send("hello"))["process"]
    for steps in (-1, 1000, 2_000_000):
        sent = {"processId": origin["id"], "steps": steps}
        assert (await client.data(FORK, input=sent))["forkProcess"]["__typename"] == "InvalidInput"


async def test_process_that_is_not_there_cannot_be_forked(client: Client) -> None:
    sent = {"processId": "nowhere", "steps": 0}
    assert (await client.data(FORK, input=sent))["forkProcess"]["__typename"] == "NotFound"


async def test_bad_message_is_refused_by_the_name_that_it_was_sent_under(client: Client) -> None:
    origin = (await client.send("hello"))["process"]
    for text in ("", "x" * 10_001, "\0"):
        sent = {"processId": origin["id"], "steps": 0, "text": text}
        assert (await client.data(FORK, input=sent))["forkProcess"]["field"] == "text"
