"""The wire models: bounds, and what the records become."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from mission_system.core.chat.records import Session
from mission_system.core.tower.process import Quota
from mission_system.web.rest.models import (
    ClarificationSubmit,
    ConfirmationSubmit,
    MessageEdit,
    MessageSend,
    RequestQuota,
    SessionCreate,
    SessionResponse,
    SessionUpdate,
    SubmitRequest,
    ToolHealthResponse,
    WireModel,
)

NOON = datetime(2026, 1, 23, 12, tzinfo=UTC)
FACE = "\N{GRINNING FACE}"

BOUNDS: list[tuple[type[WireModel], dict[str, Any], str, int, int]] = [
    (SessionCreate, {"user_id": "u"}, "user_id", 1, 255),
    (SessionCreate, {"user_id": "u"}, "title", 0, 500),
    (SessionUpdate, {}, "title", 0, 500),
    (MessageSend, {"message": "m"}, "message", 1, 10_000),
    (MessageEdit, {"content": "c"}, "content", 1, 10_000),
    (SubmitRequest, {"user_message": "m", "user_id": "u"}, "user_message", 1, 10_000),
    (SubmitRequest, {"user_message": "m", "user_id": "u"}, "user_id", 1, 255),
    (SubmitRequest, {"user_message": "m", "user_id": "u"}, "session_id", 0, 255),
    (
        ConfirmationSubmit,
        {"confirmation_id": "c", "user_response": "yes", "user_id": "u"},
        "user_response",
        1,
        1000,
    ),
    (
        ClarificationSubmit,
        {"thread_id": "t", "clarification": "c", "user_id": "u"},
        "clarification",
        1,
        2000,
    ),
]


@pytest.mark.parametrize(
    ("model", "valid", "field", "shortest", "longest"),
    BOUNDS,
    ids=[f"{model.__name__}.{field}" for model, _, field, _, _ in BOUNDS],
)
def test_lengths_count_characters_and_are_inclusive(
    model: type[WireModel], valid: dict[str, Any], field: str, shortest: int, longest: int
) -> None:
    for length in (shortest, longest):
        model.model_validate(valid | {field: FACE * length})
    with pytest.raises(ValidationError) as too_long:
        model.model_validate(valid | {field: FACE * (longest + 1)})
    [error] = too_long.value.errors()
    assert (error["type"], error["loc"]) == ("string_too_long", (field,))
    if shortest:
        with pytest.raises(ValidationError) as too_short:
            model.model_validate(valid | {field: ""})
        assert too_short.value.errors()[0]["type"] == "string_too_short"


def test_unknown_fields_are_ignored() -> None:
    sent = SessionCreate.model_validate({"user_id": "u", "colour": "red"})
    assert sent.model_dump() == {"user_id": "u", "title": None}


def test_a_session_record_becomes_its_response() -> None:
    record = Session(
        id=1,
        session_id="s",
        user_id="u",
        title=None,
        capability="docs",
        message_count=2,
        created_at=NOON,
        last_activity=NOON + timedelta(seconds=1),
        archived_at=NOON,
    )
    assert SessionResponse.model_validate(record).model_dump() == {
        "session_id": "s",
        "user_id": "u",
        "title": None,
        "message_count": 2,
        "created_at": "2026-01-23T12:00:00+00:00",
        "last_activity": "2026-01-23T12:00:01+00:00",
        "deleted_at": None,
        "archived_at": "2026-01-23T12:00:00+00:00",
    }


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-23T12:00:00Z", NOON),
        ("2026-01-23T12:00:00", NOON),
        ("2026-01-23T14:00:00+02:00", NOON.astimezone(timezone(timedelta(hours=2)))),
        (None, None),
    ],
)
def test_archived_at_is_read_from_iso_text(text: str | None, moment: datetime | None) -> None:
    update = SessionUpdate.model_validate({"archived_at": text})
    assert update.archived_at == moment
    assert "archived_at" in update.model_fields_set


@pytest.mark.parametrize("value", ["", "yesterday", "1769169600", 1769169600, 1.5, True, [], {}])
def test_archived_at_refuses_what_is_no_iso_text(value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        SessionUpdate.model_validate({"archived_at": value})
    [error] = refused.value.errors()
    assert (error["type"], error["loc"]) == ("datetime_parsing", ("archived_at",))


def test_an_absent_archived_at_is_told_from_a_null_one() -> None:
    assert "archived_at" not in SessionUpdate.model_validate({"title": "t"}).model_fields_set


def test_rates_and_latencies_are_rounded() -> None:
    health = ToolHealthResponse(
        tool_name="t",
        status="healthy",
        success_rate=2 / 3,
        avg_latency_ms=100 / 3,
        total_calls=3,
        recent_errors=1,
        issues=[],
        recommendations=[],
        checked_at=NOON.isoformat(),
    )
    assert (health.success_rate, health.avg_latency_ms) == (0.6667, 33.33)


def test_a_quota_of_half_a_second_is_reported_in_whole_seconds() -> None:
    assert RequestQuota.model_validate(Quota(timeout_seconds=0.5)).timeout_seconds == 1
