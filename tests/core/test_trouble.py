"""Trouble is told when it begins, changes, lasts and ends, and not each time."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from mission_system.core.trouble import Trouble


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trouble(clock: Clock) -> Trouble:
    return Trouble(structlog.get_logger(), "failed", "works", clock)


def told(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines]


def test_what_lasts_is_told_with_its_trace_once_and_then_at_widening_intervals(
    trouble: Trouble, clock: Clock
) -> None:
    at = []
    with structlog.testing.capture_logs() as lines:
        for second in range(3600):
            clock.now = 100.0 + second
            before = len(lines)
            trouble.met(OSError("away"), pid="p")
            at += [second] * (len(lines) - before)
    assert at == [0, 10, 30, 70, 150, 310, 630, 1230, 1830, 2430, 3030]
    assert [isinstance(line.get("exc_info"), OSError) for line in lines] == [True, *[False] * 10]
    assert (lines[1]["error"], lines[1]["failures"], lines[1]["for_seconds"]) == (
        "OSError: away",
        11,
        10,
    )
    assert {line["pid"] for line in lines} == {"p"}


def test_another_kind_of_error_is_told_at_once_and_two_in_turns_are_not_news(
    trouble: Trouble,
) -> None:
    with structlog.testing.capture_logs() as lines:
        for _ in range(20):
            trouble.met(OSError("away"))
            trouble.met(ValueError("odd"))
    assert [type(line["exc_info"]) for line in lines] == [OSError, ValueError]


def test_the_end_is_told_once_and_the_next_trouble_is_new(trouble: Trouble, clock: Clock) -> None:
    with structlog.testing.capture_logs() as lines:
        trouble.passed()
        trouble.met(OSError("away"))
        clock.now += 5
        trouble.passed()
        trouble.passed()
        trouble.met(OSError("away"))
    assert told(lines) == ["failed", "works", "failed"]
    assert (lines[1]["failures"], lines[1]["for_seconds"]) == (1, 5)
    assert "exc_info" in lines[2]


def test_of_work_side_by_side_that_fails_in_part_no_end_is_told(
    trouble: Trouble, clock: Clock
) -> None:
    with structlog.testing.capture_logs() as lines:
        for tenth in range(100):
            clock.now = 100.0 + tenth / 10
            trouble.met(OSError("no connection"))
            trouble.passed()
        clock.now += 5
        trouble.passed()
    assert told(lines) == ["failed", "works"]
    assert lines[1]["failures"] == 100
