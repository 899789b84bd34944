"""Errors: what clients may know they are told by a stable code; the rest only the log knows."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

import pytest
import structlog
from graphql import GraphQLError

from mission_system.core import errors as core
from mission_system.core.node import Node
from mission_system.schema import errors
from mission_system.schema.errors import presented
from mission_system.schema.event import event_cursor

from .conftest import SEND, Client, Json

SECRET = "password=hunter2 in /var/lib/secrets"


def located(cause: Exception) -> GraphQLError:
    return GraphQLError(str(cause), path=["field"], original_error=cause)


@pytest.mark.parametrize(
    ("cause", "extensions"),
    [
        (core.NotFound("session", "x"), {"code": "NOT_FOUND"}),
        (core.Forbidden("no"), {"code": "FORBIDDEN"}),
        (core.InvalidInput("first", "no"), {"code": "INVALID_INPUT", "field": "first"}),
        (core.Conflict("no"), {"code": "CONFLICT"}),
        (core.QuotaExceeded("max_x", "no"), {"code": "QUOTA_EXCEEDED", "reason": "max_x"}),
        (core.Busy("no", 2.5), {"code": "BUSY", "retryAfter": 2.5}),
        (core.Unavailable("no"), {"code": "UNAVAILABLE"}),
        (core.CursorExpired(3, 7), {"code": "CURSOR_EXPIRED", "oldest": event_cursor(3, 6)}),
        (core.ToolFailed("t", "error", "no"), {"code": "TOOL_FAILED"}),
    ],
)
def test_an_error_of_ours_keeps_its_text_code_and_details(
    cause: core.MissionError, extensions: dict[str, object]
) -> None:
    told = presented(located(cause))
    assert (told.message, told.path) == (cause.message, ["field"])
    assert told.extensions == extensions


def test_an_error_of_ours_is_known_behind_any_wrapping() -> None:
    wrapped = located(located(core.Conflict("taken")))
    assert (presented(wrapped).extensions or {})["code"] == "CONFLICT"


@pytest.mark.parametrize(
    "error",
    [
        located(RuntimeError(SECRET)),
        located(KeyError(SECRET)),
        located(TimeoutError(SECRET)),
        GraphQLError(f"String cannot represent value: {SECRET}", path=["field"]),
        GraphQLError(SECRET, original_error=OSError(SECRET)),
    ],
)
def test_any_other_error_is_masked_and_logged_under_the_number_it_is_given(
    error: GraphQLError,
) -> None:
    with structlog.testing.capture_logs() as logs:
        told = presented(error)
    assert told.message == "Internal error"
    incident = (told.extensions or {})["incident"]
    assert told.extensions == {"code": "INTERNAL", "incident": incident}
    assert re.fullmatch("[0-9a-f]{16}", incident)
    assert SECRET not in str(told.formatted)
    [entry] = logs
    assert (entry["incident"], entry["log_level"]) == (incident, "error")
    assert SECRET in str(entry["exc_info"])


@pytest.mark.parametrize(
    ("raised", "member"),
    [
        (
            core.NotFound("session", "x"),
            errors.NotFound(code="NOT_FOUND", message="session not found: x"),
        ),
        (core.Busy("wait", 2.5), errors.Busy(code="BUSY", message="wait", retry_after=2.5)),
        (
            core.InvalidInput("f", "no"),
            errors.InvalidInput(code="INVALID_INPUT", message="f: no", field="f"),
        ),
        (
            core.QuotaExceeded("r", "no"),
            errors.QuotaExceeded(code="QUOTA_EXCEEDED", message="no", reason="r"),
        ),
    ],
)
def test_a_member_carries_what_a_client_needs_to_act(
    raised: core.MissionError, member: errors.Error
) -> None:
    assert type(member).of(raised) == member


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (
            core.Busy("too much is in line", 2.5),
            {"__typename": "Busy", "code": "BUSY", "message": "too much is in line"},
        ),
        (
            core.QuotaExceeded("rate", "slow down"),
            {"__typename": "QuotaExceeded", "code": "QUOTA_EXCEEDED", "message": "slow down"},
        ),
        (
            core.Forbidden("not yours"),
            {"__typename": "Forbidden", "code": "FORBIDDEN", "message": "not yours"},
        ),
    ],
)
async def test_what_the_tower_raises_becomes_a_member_of_the_result(
    client: Client,
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    raised: core.MissionError,
    told: dict[str, str],
) -> None:
    async def submit(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(node.tower, "submit_request", submit)
    assert (await client.data(SEND, input={"text": "hello"}))["sendMessage"] == told


async def test_a_defect_is_masked_in_queries_mutations_and_subscriptions(
    client: Client, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET)

    async def breaking(*_: object, **__: object) -> AsyncGenerator[None, None]:
        raise RuntimeError(SECRET)
        yield

    session_id = (await client.send("hello"))["process"]["sessionId"]
    subscription = "subscription S($id: ID!) { sessionEvents(sessionId: $id) { seq } }"
    monkeypatch.setattr(node.events, "follow_session", breaking)
    results = await client.schema.subscribe(
        subscription, variable_values={"id": session_id}, context_value=client.context
    )
    streamed: list[Json] = [
        dict(e.formatted) async for result in results for e in result.errors or ()
    ]

    monkeypatch.setattr(node.chat, "list_sessions", broken)
    monkeypatch.setattr(node.chat, "get_session", broken)
    monkeypatch.setattr(node.tower, "submit_request", broken)
    refused = await client.schema.subscribe(
        subscription, variable_values={"id": session_id}, context_value=client.context
    )
    streamed += [dict(e.formatted) async for result in refused for e in result.errors or ()]
    assert len(streamed) == 2
    for error in (
        *streamed,
        await client.error("{ sessions { nodes { id } } }"),
        await client.error(SEND, input={"text": "hello"}),
    ):
        assert error["message"] == "Internal error"
        assert error["extensions"]["code"] == "INTERNAL"
        assert SECRET not in str(error)


async def test_one_failing_field_leaves_the_others(client: Client) -> None:
    data, [error] = await client.execute('{ viewer { userId } session(id: "none") { id } }')
    assert data == {"viewer": {"userId": "local"}, "session": None}
    assert error["path"] == ["session"]
