"""The bridge: a test for each row of the former WebSocket interface."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mission_system.core.events.bridge import EventBridge, Request
from mission_system.core.events.event import Event
from mission_system.core.events.types import TYPES

AT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
TIME = "2026-01-02T03:04:05.000006+00:00"
SESSION = {"session_id": "s1", "title": None, "message_count": 0}
MESSAGE = {"message_id": 7, "content": "new"}


def event(type: str, payload: dict[str, Any], pid: str | None = "p1", session: str = "s1") -> Event:
    return Event(
        stream=1,
        seq=1,
        type=type,
        session_id=session,
        pid=pid,
        user_id="ann",
        payload=payload,
        created_at=AT,
    )


def raised(kind: str, data: object = None) -> tuple[str, dict[str, Any]]:
    return "interrupt.raised", {
        "interrupt_id": "i1",
        "kind": kind,
        "question": "Sure?",
        "options": [],
        "data": data,
        "message_id": 3,
        "expires_at": None,
    }


LIMIT = {"resource": "llm_calls", "used": 10, "limit": 10, "extend_by": 10}
CLARIFICATION = {"clarification_question": "Sure?", "thread_id": "p1"}
EXHAUSTED = {"resource": "llm_calls", "usage": 10, "quota": 10}
OF_SESSION = {"session_id": "s1", "user_id": "ann", "timestamp": TIME}

SESSION_ROWS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("chat.session.created", {"session": SESSION}, {"session": SESSION}),
    ("chat.session.updated", {"session": SESSION}, {"session": SESSION}),
    ("chat.session.deleted", {"session_id": "s1", "soft": True}, {"soft": True}),
    (
        "chat.message.edited",
        {"message_id": 7, "message": MESSAGE},
        {"message_id": 7, "message": MESSAGE},
    ),
    ("chat.message.deleted", {"message_id": 7, "soft": False}, {"message_id": 7, "soft": False}),
]
PROCESS_ROWS: list[tuple[tuple[str, dict[str, Any]], str, dict[str, Any]]] = [
    (("process.created", {"request_id": "r1"}), "orchestrator.started", {"pid": "p1"}),
    (
        ("process.completed", {"message_id": 4}),
        "orchestrator.completed",
        {"status": "completed"},
    ),
    (
        ("process.failed", {"reason": "error", "error": "broken"}),
        "orchestrator.failed",
        {"error": "broken"},
    ),
    (
        ("process.failed", {"reason": "not_stored", "error": None}),
        "orchestrator.failed",
        {"error": "not_stored"},
    ),
    (
        ("process.failed", {"reason": "max_llm_calls_exceeded", "error": "the limit of 10"}),
        "orchestrator.resource_exhausted",
        {"reason": "max_llm_calls_exceeded"},
    ),
    (
        ("process.cancelled", {"reason": "cancelled by user"}),
        "orchestrator.cancelled",
        {"reason": "cancelled by user"},
    ),
    (raised("clarification"), "orchestrator.clarification", CLARIFICATION),
    (raised("agent_review"), "orchestrator.clarification", CLARIFICATION),
    (raised("checkpoint"), "orchestrator.clarification", CLARIFICATION),
    (raised("system_error"), "orchestrator.clarification", CLARIFICATION),
    (
        raised("confirmation"),
        "orchestrator.confirmation",
        {"confirmation_message": "Sure?", "confirmation_id": "i1"},
    ),
    (raised("resource_exhausted", LIMIT), "orchestrator.resource_exhausted", EXHAUSTED),
    (raised("timeout", LIMIT), "orchestrator.resource_exhausted", EXHAUSTED),
    (("stage.started", {"stage": "search"}), "search.started", {"stage": "search"}),
    (
        ("stage.completed", {"stage": "search", "seconds": 1.5}),
        "search.completed",
        {"stage": "search", "seconds": 1.5},
    ),
    (
        ("tool.called", {"step": "0", "tool": "t", "arguments": "{}"}),
        "tool.called",
        {"step": "0", "tool": "t", "arguments": "{}"},
    ),
    (
        ("tool.completed", {"step": "0", "tool": "t", "status": "success", "seconds": 1}),
        "tool.completed",
        {"step": "0", "tool": "t", "status": "success", "seconds": 1},
    ),
]


@pytest.mark.parametrize(("type", "payload", "shown"), SESSION_ROWS)
def test_event_of_a_session_keeps_its_name(
    type: str, payload: dict[str, Any], shown: dict[str, Any]
) -> None:
    sent = EventBridge().translate(event(type, payload, pid=None))
    assert sent is not None
    assert (sent.name, sent.payload) == (type, OF_SESSION | shown)


@pytest.mark.parametrize(("told", "name", "shown"), PROCESS_ROWS)
def test_event_of_a_request_carries_the_id_of_the_request(
    told: tuple[str, dict[str, Any]], name: str, shown: dict[str, Any]
) -> None:
    sent = EventBridge().translate(event(*told), Request("p1", "r1"))
    assert sent is not None
    assert (sent.name, sent.payload) == (name, {"request_id": "r1"} | shown)


def test_frame_says_its_name_twice_and_its_time() -> None:
    sent = EventBridge().translate(event("process.completed", {}), Request("p1", "r1"))
    assert sent is not None
    assert sent.as_json() == {
        "event": "orchestrator.completed",
        "event_type": "orchestrator.completed",
        "payload": {"request_id": "r1", "status": "completed"},
        "timestamp": TIME,
    }


def test_session_that_is_gone_for_good_is_named_all_the_same() -> None:
    told = event("chat.session.deleted", {"session_id": "s1", "soft": False}, None, session="")
    sent = EventBridge().translate(told)
    assert sent is not None
    assert sent.payload["session_id"] == "s1"


@pytest.mark.parametrize(
    "type", set(TYPES) - {row[0] for row in SESSION_ROWS} - {row[0][0] for row in PROCESS_ROWS}
)
def test_event_that_former_clients_do_not_know_is_left_out(type: str) -> None:
    assert EventBridge().translate(event(type, {}), Request("p1", "r1")) is None
    assert EventBridge().translate(event("docs.indexed", {}), Request("p1", "r1")) is None


@pytest.mark.parametrize("stage", ["orchestrator", "tool", "chat.session", "pong"])
def test_stage_does_not_pass_for_something_else(stage: str) -> None:
    told = event("stage.started", {"stage": stage})
    assert EventBridge().translate(told, Request("p1", "r1")) is None


def test_spawned_process_is_only_heard_where_it_asks() -> None:
    bridge, root = EventBridge(), Request("root", "r1")
    for type, payload in (told for told, *_ in PROCESS_ROWS):
        sent = bridge.translate(event(type, payload), root)
        assert (sent is not None) is (type == "interrupt.raised")


def test_event_of_a_request_that_nobody_knows_is_left_out() -> None:
    assert EventBridge().translate(event("process.completed", {})) is None


def test_options_of_a_question_are_part_of_its_text() -> None:
    type, payload = raised("clarification")
    asked = event(type, payload | {"options": ["billing", "setup"]})
    told = EventBridge().translate(asked, Request("p1", "r1"))
    assert told is not None
    assert told.payload["clarification_question"] == "Sure?\n- billing\n- setup"
