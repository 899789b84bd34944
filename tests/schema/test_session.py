"""Sessions: created, listed page by page, and read together with where to follow them from."""

from __future__ import annotations

from .conftest import Client, Json

CREATE = """
mutation Create($input: CreateSessionInput!) {
  createSession(input: $input) {
    __typename
    ... on CreateSessionPayload { session { id sessionId title capability messageCount } }
    ... on Error { code message }
    ... on InvalidInput { field }
  }
}
"""
SESSIONS = """
query Sessions($first: Int!, $after: String) {
  sessions(first: $first, after: $after) {
    edges { cursor node { sessionId } }
    nodes { sessionId }
    pageInfo { hasNextPage endCursor }
  }
}
"""


async def create(client: Client, **given: object) -> Json:
    payload: Json = (await client.data(CREATE, input=given))["createSession"]
    return payload


async def test_a_session_is_created_and_found_by_either_id(client: Client) -> None:
    session = (await create(client, title="Täglich", capability="gate"))["session"]
    assert (session["title"], session["capability"]) == ("Täglich", "gate")
    for id in (session["id"], session["sessionId"]):
        found = await client.data("query S($id: ID!) { session(id: $id) { id title } }", id=id)
        assert found["session"] == {"id": session["id"], "title": "Täglich"}


async def test_a_session_that_cannot_be_stored_is_refused_by_field(client: Client) -> None:
    for given, field in (
        ({"title": "x" * 501}, "title"),
        ({"title": "nul\0"}, "title"),
        ({"title": "half \ud800"}, "title"),
        ({"capability": ""}, "capability"),
        ({"capability": "nobody serves this"}, "capability"),
    ):
        payload = await create(client, **given)
        assert (payload["__typename"], payload["field"]) == ("InvalidInput", field), given
        assert payload["code"] == "INVALID_INPUT"
    assert (await client.data(SESSIONS, first=1))["sessions"]["nodes"] == []


async def test_pages_follow_one_another_without_gap_or_repeat(client: Client) -> None:
    made = [(await create(client))["session"]["sessionId"] for _ in range(5)]
    seen: list[str] = []
    after: str | None = None
    while True:
        page = (await client.data(SESSIONS, first=2, after=after))["sessions"]
        assert [edge["node"] for edge in page["edges"]] == page["nodes"]
        assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]
        seen += [node["sessionId"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == made[::-1]


async def test_an_empty_page_has_no_end(client: Client) -> None:
    page = (await client.data(SESSIONS, first=1))["sessions"]
    assert page["pageInfo"] == {"hasNextPage": False, "endCursor": None}


async def test_a_page_size_out_of_bounds_is_refused(client: Client) -> None:
    for first in (0, -1, 201, 2**31 - 1):
        error = await client.error(SESSIONS, first=first)
        assert error["extensions"] == {"code": "INVALID_INPUT", "field": "first"}, first


async def test_a_cursor_of_something_else_is_refused(client: Client) -> None:
    for after in ("", "nonsense", "\0", "x" * 1000, "W10", "ZXZlbnQ6MQ=="):
        error = await client.error(SESSIONS, first=1, after=after)
        assert error["extensions"] == {"code": "INVALID_INPUT", "field": "after"}, after


async def test_messages_are_listed_oldest_first_with_what_is_attached(client: Client) -> None:
    session_id = (await client.send("one"))["process"]["sessionId"]
    await client.send("two", sessionId=session_id)
    data = await client.data(
        "query M($id: ID!) { session(id: $id) { messageCount"
        " messages { nodes { messageId role content data pid editedAt } } } }",
        id=session_id,
    )
    messages = data["session"]["messages"]["nodes"]
    assert data["session"]["messageCount"] == 4
    assert [message["role"] for message in messages] == ["USER", "ASSISTANT"] * 2
    assert [messages[0]["content"], messages[2]["content"]] == ["one", "two"]
    assert "two" in messages[3]["content"]
    assert messages[0]["pid"] == messages[1]["pid"]
    assert messages[0]["data"] == {}
    assert sorted(message["messageId"] for message in messages) == [
        message["messageId"] for message in messages
    ]


async def test_users_do_not_see_one_another(client: Client) -> None:
    session = (await create(client))["session"]
    stranger = client.called("mallory")
    assert (await stranger.data(SESSIONS, first=10))["sessions"]["nodes"] == []
    error = await stranger.error(
        "query S($id: ID!) { session(id: $id) { id } }", id=session["sessionId"]
    )
    assert error["extensions"]["code"] == "NOT_FOUND"


async def test_following_from_the_last_cursor_tells_all_that_reading_did_not_show(
    client: Client,
) -> None:
    """Whatever is said between the reading and the subscription is not lost."""
    session_id = (await client.send("before"))["process"]["sessionId"]
    cursor = (
        await client.data("query S($id: ID!) { session(id: $id) { lastCursor } }", id=session_id)
    )["session"]["lastCursor"]
    await client.send("in between", sessionId=session_id)
    said: list[str] = []
    events = client.follow(
        "subscription E($id: ID!, $after: String) {"
        " sessionEvents(sessionId: $id, after: $after) { type payload } }",
        id=session_id,
        after=cursor,
    )
    async for event in events:
        if event["type"] == "chat.message.created":
            said.append(event["payload"]["role"])
        if event["type"] == "process.completed":
            break
    assert said == ["user", "assistant"]
