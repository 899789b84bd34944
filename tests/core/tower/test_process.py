"""The record of a process: copies of it with other values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mission_system.core.tower.process import (
    Outcome,
    ProcessControlBlock,
    ProcessState,
    Quota,
    SchedulingPriority,
    Usage,
)

PROCESS = ProcessControlBlock(
    pid="p1",
    request_id="p1",
    session_id="s1",
    user_id="ann",
    capability="echo",
    version=1,
    message="hi",
    message_id=1,
    state=ProcessState.RUNNING,
    priority=SchedulingPriority.NORMAL,
    quota=Quota(),
    usage=Usage(),
    epoch=1,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_changed_gives_what_replace_gives_and_leaves_the_record_alone() -> None:
    changes = {"state": ProcessState.TERMINATED, "outcome": Outcome.COMPLETED, "reply": "hi"}
    before = replace(PROCESS)
    assert PROCESS.changed(**changes) == replace(PROCESS, **changes)  # type: ignore[arg-type]
    assert before == PROCESS


@pytest.mark.parametrize("name", ["replay", "settled", "__class__"])
def test_changed_refuses_a_field_that_there_is_none_of(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        PROCESS.changed(state=ProcessState.READY, **{name: None})
    assert name not in PROCESS.__dict__
