"""GraphQL over HTTP: every request gets an answer of the right form and status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog
from starlette.types import Message

from .conftest import JSON, RESPONSE, Http, Json, Server
from .test_stream import MULTIPART

VIEWER = "{ viewer { userId } }"
ANSWERED = {"data": {"viewer": {"userId": "local"}}}
CREATE = "mutation { createSession(input: {}) { __typename } }"
TWO = "query A { viewer { userId } } query B { viewer { userId role } }"


async def test_queries_are_answered_by_get_and_post_in_the_form_asked_for(http: Http) -> None:
    for accept in (JSON, RESPONSE, f"{JSON}, {RESPONSE};q=0.9"):
        for response in (
            await http.post({"query": VIEWER}, accept),
            await http.get(accept, query=VIEWER),
        ):
            assert response.status_code == 200
            assert response.json() == ANSWERED
            form = RESPONSE if accept == RESPONSE else JSON
            assert response.headers["content-type"] == f"{form}; charset=utf-8"
    assert (await http.get("*/*", query=VIEWER)).headers["content-type"].startswith(JSON)


async def test_variables_and_operation_names_travel_both_ways(http: Http) -> None:
    query = "query N($first: Int!) { sessions(first: $first) { nodes { id } } }"
    body = {"query": query, "variables": {"first": 3}, "operationName": "N", "extensions": {}}
    expected = {"data": {"sessions": {"nodes": []}}}
    assert (await http.post(body)).json() == expected
    assert (await http.get(query=query, variables='{"first": 3}')).json() == expected
    assert (await http.post({"query": VIEWER, "variables": None})).json() == ANSWERED
    assert (await http.post({"query": VIEWER, "operationName": ""})).json() == ANSWERED


@pytest.mark.parametrize(
    "body",
    [
        {"query": "{ viewer { name } }"},
        {"query": "{ viewer {"},
        {"query": TWO},
        {"query": TWO, "operationName": "C"},
        {"query": "query N($n: Int!) { sessions(first: $n) { nodes { id } } }"},
        {"query": "{ " * 3000},
        {"query": "{ sessions(first: %s) { nodes { id } } }" % ("9" * 5000)},
        {"query": "#"},
    ],
    ids=["unknown", "syntax", "unnamed", "misnamed", "variable", "large", "number", "empty"],
)
async def test_what_cannot_be_executed_is_400_without_data_or_200_in_plain_json(
    http: Http, body: dict[str, str]
) -> None:
    strict, lenient = await http.post(body, RESPONSE), await http.post(body, JSON)
    assert (strict.status_code, lenient.status_code) == (400, 200)
    assert strict.json() == lenient.json()
    assert list(strict.json()) == ["errors"]
    for error in strict.json()["errors"]:
        assert error["extensions"]["code"] in ("INVALID_REQUEST", "TOO_LARGE")


async def test_an_error_while_executing_is_200_with_data(http: Http) -> None:
    response = await http.post({"query": '{ session(id: "x") { id } viewer { userId } }'}, RESPONSE)
    assert response.status_code == 200
    assert response.json()["data"] == {"session": None, **ANSWERED["data"]}
    assert response.json()["errors"][0]["extensions"] == {"code": "NOT_FOUND"}


async def test_a_body_that_is_no_operation_is_400(http: Http) -> None:
    for body in (
        b"",
        b"5",
        b"null",
        b"[]",
        b'"query"',
        b"{",
        b"{}",
        b"\xff\xfe{}",
        b'{"query": 5}',
        b'{"query": null}',
        b'{"query": ""}',
        b'{"query": "{ viewer { userId } }", "variables": []}',
        b'{"query": "{ viewer { userId } }", "variables": "{}"}',
        b'{"query": "{ viewer { userId } }", "extensions": 1}',
        b'{"query": "{ viewer { userId } }", "operationName": 1}',
        b'{"query": "\\ud800"}',
        b'[{"query": "{ viewer { userId } }"}]',
    ):
        response = await http.raw(body)
        assert response.status_code == 400, body
        [error] = response.json()["errors"]
        assert error["extensions"] == {"code": "INVALID_REQUEST"}, body


async def test_a_body_that_a_form_elsewhere_could_send_is_415(http: Http) -> None:
    body = b'{"query": "{ viewer { userId } }"}'
    for media in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "application/json; charset=latin-1",
        "",
    ):
        assert (await http.raw(body, media)).status_code == 415, media
    for media in (JSON, "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'):
        assert (await http.raw(body, media)).json() == ANSWERED


@pytest.mark.parametrize("accept", [JSON, RESPONSE, "text/event-stream", MULTIPART])
async def test_a_get_that_a_page_elsewhere_could_cause_is_refused_in_every_form(
    http: Http, accept: str
) -> None:
    async def asked_with(**headers: str) -> int:
        response = await http.client.get(
            http.url, params={"query": VIEWER}, headers={"Accept": accept, **headers}
        )
        if response.status_code == 200:
            assert '"userId":"local"' in response.text
        else:
            assert "GraphQL-Require-Preflight" in response.json()["errors"][0]["message"]
        return response.status_code

    assert await asked_with() == 403
    for harmless in (
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain; application/json"},
        {"Accept-Language": "en"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ):
        assert await asked_with(**harmless) == 403, harmless
    for telling in (
        {"GraphQL-Require-Preflight": "1"},
        {"Apollo-Require-Preflight": "true"},
        {"X-Apollo-Operation-Name": "Viewer"},
        {"X-Mission-User": "local"},
        {"Content-Type": "application/json"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": http.url.removesuffix("/graphql"), "Sec-Fetch-Site": "same-site"},
    ):
        assert await asked_with(**telling) == 200, telling
    params = {"query": VIEWER}
    for foreign in ("https://evil.example", "null"):
        headers = {"Accept": accept, "Origin": foreign}
        refused = await http.client.get(http.url, params=params, headers=headers)
        assert (refused.status_code, refused.json()["errors"][0]["extensions"]) == (
            403,
            {"code": "FORBIDDEN"},
        )


async def test_batches_are_off_unless_a_setting_allows_them(
    http: Http, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"query": VIEWER}
    for size in (0, 1, 2):
        response = await http.post([asked] * size)
        assert response.status_code == 400
        assert "batches" in response.json()["errors"][0]["message"]
    monkeypatch.setattr(server.view, "_batch", 4)
    subscription = {"query": 'subscription { sessionEvents(sessionId: "x") { seq } }'}
    response = await http.post([asked, {"query": "{ nothing }"}, subscription, {"query": CREATE}])
    assert response.status_code == 200
    first, wrong, streamed, created = response.json()
    assert first == ANSWERED
    for refused in (wrong, streamed):
        assert list(refused) == ["errors"]
        assert refused["errors"][0]["extensions"] == {"code": "INVALID_REQUEST"}
    assert created["data"]["createSession"]["__typename"] == "CreateSessionPayload"
    for bad in ([], [asked] * 5, [asked, 5], [asked, {}], [[asked]]):
        assert (await http.post(bad)).status_code == 400
    assert (await http.post([asked], "text/event-stream")).status_code == 406
    assert (await http.post(asked)).json() == ANSWERED


async def test_who_asks_is_told_the_cost_over_http(http: Http) -> None:
    body = {"query": VIEWER, "extensions": {"cost": True}}
    cost = (await http.post(body)).json()["extensions"]["cost"]
    assert (cost["cost"], cost["limits"]["cost"]) == (2, 50_000)
    asked = await http.get(query=VIEWER, extensions='{"cost": true}')
    assert asked.json()["extensions"]["cost"] == cost
    streamed = await http.post(body, "text/event-stream")
    assert '"extensions":{"cost":{"cost":2,' in streamed.text
    refused = await http.post({**body, "query": "{ " + "a: viewer { userId } " * 60 + "}"})
    assert refused.json()["extensions"]["cost"]["aliases"] == 60
    assert "extensions" not in (await http.post({"query": VIEWER})).json()


async def test_a_mutation_by_get_is_refused_and_does_nothing(http: Http) -> None:
    response = await http.get(query=CREATE)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert "POST" in response.json()["errors"][0]["message"]
    smuggled = await http.get(query=f"query A {VIEWER} {CREATE.replace('mutation', 'mutation B')}")
    assert "operationName" in smuggled.json()["errors"][0]["message"]
    listed = await http.post({"query": "{ sessions { nodes { id } } }"})
    assert listed.json() == {"data": {"sessions": {"nodes": []}}}


async def test_other_methods_are_refused_by_name(http: Http) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        response = await http.client.request(method, http.url)
        allowed = response.headers["allow"]
        assert (response.status_code, allowed) == (405, "GET, HEAD, POST"), method


async def test_head_is_answered_as_get_is_without_the_body(http: Http) -> None:
    deliberate = {"GraphQL-Require-Preflight": "1"}
    for params, headers in (
        ({}, {"Accept": "text/html"}),
        ({"query": VIEWER}, {**deliberate, "Accept": RESPONSE}),
        ({"query": CREATE}, {**deliberate, "Accept": RESPONSE}),
        ({"query": VIEWER}, {"Accept": RESPONSE}),
        ({"query": "{"}, {**deliberate, "Accept": RESPONSE}),
        ({}, {**deliberate, "Accept": RESPONSE}),
    ):
        get = await http.client.get(http.url, params=params, headers=headers)
        head = await http.client.head(http.url, params=params, headers=headers)
        varying = ("date", "x-request-id")
        assert head.status_code == get.status_code, params
        assert head.content == b""
        assert [pair for pair in head.headers.items() if pair[0] not in varying] == [
            pair for pair in get.headers.items() if pair[0] not in varying
        ]


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json, text/event-stream"])
async def test_head_of_a_stream_does_not_run_it(http: Http, server: Server, accept: str) -> None:
    process = await http.send("hello")
    query = f'subscription {{ sessionEvents(sessionId: "{process["sessionId"]}") {{ type }} }}'
    headers = {"GraphQL-Require-Preflight": "1", "Accept": accept}
    async with asyncio.timeout(10):  # else it goes on for as long as the client stays
        head = await http.client.head(http.url, params={"query": query}, headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert server.node.followers._tails == {}


async def test_a_form_of_answer_that_there_is_not_is_406(http: Http) -> None:
    for form in ("image/png", "multipart/mixed"):
        response = await http.post({"query": VIEWER}, form)
        assert response.status_code == 406
        message = response.json()["errors"][0]["message"]
        assert RESPONSE in message
        assert "multipart/mixed;subscriptionSpec=1.0" in message


async def test_a_subscription_without_a_stream_is_told_what_to_do(http: Http) -> None:
    query = 'subscription { sessionEvents(sessionId: "x") { seq } }'
    for response in (await http.post({"query": query}), await http.get(query=query)):
        assert response.status_code == 406
        message = response.json()["errors"][0]["message"]
        assert "text/event-stream" in message
        assert "graphql-transport-ws" in message


async def test_a_body_above_the_limit_is_413_however_it_is_sent(http: Http) -> None:
    big = b'{"query": "' + b" " * (1 << 20) + b'"}'

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 1 << 16):
            yield big[start : start + (1 << 16)]

    assert (await http.raw(big)).status_code == 413
    response = await http.client.post(
        http.url,
        content=chunks(),
        headers={"Content-Type": JSON},
    )
    assert response.status_code == 413


async def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_failure_of_the_server(
    server: Server,
) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", JSON.encode())],
        "client": ("127.0.0.1", 5),
    }
    arriving: list[Message] = [
        {"type": "http.request", "body": b'{"query": "{ vie', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return arriving.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    with structlog.testing.capture_logs() as logs:
        await server.app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []


async def test_the_caller_is_who_the_header_names(http: Http) -> None:
    async def asked_by(user: str) -> tuple[int, Json]:
        response = await http.client.post(
            http.url, json={"query": VIEWER}, headers={"X-Mission-User": user}
        )
        return response.status_code, response.json()

    assert await asked_by("ada") == (200, {"data": {"viewer": {"userId": "ada"}}})
    status, body = await asked_by("x" * 300)
    assert (status, body["errors"][0]["extensions"]["code"]) == (400, "INVALID_INPUT")


async def test_a_message_is_sent_and_answered_over_http(http: Http) -> None:
    process = await http.send("what is 6 × 7? 🙂")
    assert process["state"] == "TERMINATED"
    assert "what is 6 × 7? 🙂" in process["reply"]


async def test_browsers_get_a_page_that_may_load_nothing_from_elsewhere(http: Http) -> None:
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    page = await http.get(browser)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>" in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert (await http.get(browser, query=VIEWER)).json() == ANSWERED
