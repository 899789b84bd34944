"""The breaker by itself: a state machine that is told the time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mission_system.core.clock import SECOND
from mission_system.core.tools.breaker import (
    FAILURES,
    TRIALS,
    WINDOW,
    Breaker,
    BreakerPolicy,
    BreakerRules,
    BreakerState,
    Change,
)
from mission_system.core.tools.breakers import Breakers
from mission_system.core.tools.spec import ToolStatus

COOLDOWN = 60 * SECOND
COUNTED = (ToolStatus.ERROR, ToolStatus.TIMEOUT)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


def breakers(
    policy: BreakerPolicy = "log_and_enforce", **policies: BreakerPolicy
) -> tuple[Breakers, Clock, list[Change]]:
    clock, changes = Clock(), list[Change]()
    made = Breakers(BreakerRules(policy, policies, COOLDOWN), clock=clock)
    made.changed = changes.append
    return made, clock, changes


def call(made: Breakers, status: ToolStatus, tool: str = "mail") -> bool:
    """Whether the call was let through."""
    if made.refusal(tool) is not None:
        return False
    made.leave(tool, made.enter(tool), status)
    return True


def states(changes: list[Change]) -> list[BreakerState]:
    return [change.after for change in changes]


@pytest.mark.parametrize("status", COUNTED)
def test_five_failures_within_five_minutes_open_it(status: ToolStatus) -> None:
    made, clock, changes = breakers()
    for _ in range(FAILURES - 1):
        assert call(made, status)
        clock.now += 74 * SECOND
    assert (made.get("mail").state, changes) == (BreakerState.CLOSED, [])
    assert call(made, status)
    assert made.get("mail").state is BreakerState.OPEN
    assert states(changes) == [BreakerState.OPEN]
    assert changes[0].reason == "5 of its calls failed within 5 minutes"


def test_five_failures_over_a_longer_time_do_not() -> None:
    made, clock, changes = breakers()
    for _ in range(3 * FAILURES):
        assert call(made, ToolStatus.ERROR)
        clock.now += 76 * SECOND
    assert changes == []


@pytest.mark.parametrize("status", [each for each in ToolStatus if each not in COUNTED])
def test_only_errors_and_timeouts_count(status: ToolStatus) -> None:
    made, _, changes = breakers()
    for _ in range(20):
        assert call(made, status)
    assert changes == []


def test_successes_between_do_not_forgive_failures() -> None:
    made, _, _ = breakers()
    for _ in range(FAILURES):
        call(made, ToolStatus.SUCCESS)
        call(made, ToolStatus.ERROR)
    assert made.get("mail").state is BreakerState.OPEN


def opened(policy: BreakerPolicy = "log_and_enforce") -> tuple[Breakers, Clock, list[Change]]:
    made, clock, changes = breakers(policy)
    for _ in range(FAILURES):
        call(made, ToolStatus.ERROR)
    return made, clock, changes


def test_an_open_breaker_refuses_until_it_has_cooled_down() -> None:
    made, clock, changes = opened()
    clock.now += COOLDOWN - SECOND
    refusal = made.refusal("mail")
    assert refusal is not None
    assert "5 of its calls failed within 5 minutes" in refusal
    assert "try again in 1 s" in refusal
    clock.now += SECOND - 1
    assert "try again in 1 s" in (made.refusal("mail") or "")
    clock.now += 1
    assert made.refusal("mail") is None
    assert states(changes) == [BreakerState.OPEN, BreakerState.HALF_OPEN]


def test_trials_come_one_at_a_time_and_close_it() -> None:
    made, clock, changes = opened()
    clock.now += COOLDOWN
    for _ in range(TRIALS):
        assert made.refusal("mail") is None
        trial = made.enter("mail")
        assert "another call is trying it" in str(made.refusal("mail"))
        made.leave("mail", trial, ToolStatus.SUCCESS)
    assert states(changes)[-1] is BreakerState.CLOSED
    for _ in range(FAILURES - 1):  # it has forgotten what was before
        call(made, ToolStatus.ERROR)
    assert made.get("mail").state is BreakerState.CLOSED


@pytest.mark.parametrize("status", COUNTED)
def test_a_trial_that_fails_opens_it_again(status: ToolStatus) -> None:
    made, clock, changes = opened()
    clock.now += COOLDOWN
    assert call(made, ToolStatus.SUCCESS)
    assert call(made, status)
    assert states(changes)[-1] is BreakerState.OPEN
    assert made.refusal("mail") is not None
    clock.now += COOLDOWN
    assert made.refusal("mail") is None


@pytest.mark.parametrize("status", [ToolStatus.CANCELLED, ToolStatus.INVALID_ARGUMENTS])
def test_a_trial_that_shows_nothing_makes_room_for_another(status: ToolStatus) -> None:
    made, clock, _ = opened()
    clock.now += COOLDOWN
    assert call(made, status)
    assert made.get("mail").state is BreakerState.HALF_OPEN
    assert made.refusal("mail") is None


def test_a_call_from_before_a_change_says_nothing_about_the_new_state() -> None:
    made, clock, _ = breakers()
    late = [made.enter("mail") for _ in range(3)]
    for _ in range(FAILURES):
        call(made, ToolStatus.ERROR)
    clock.now += COOLDOWN
    made.cool()
    for entered in late:
        made.leave("mail", entered, ToolStatus.SUCCESS)
    assert made.get("mail").state is BreakerState.HALF_OPEN
    made.leave("mail", late[0], ToolStatus.ERROR)
    assert made.get("mail").state is BreakerState.HALF_OPEN


def test_log_only_tells_and_lets_calls_pass() -> None:
    made, clock, changes = opened("log_only")
    assert made.get("mail").state is BreakerState.OPEN
    assert made.refusal("mail") is None
    clock.now += COOLDOWN
    for _ in range(TRIALS):
        assert call(made, ToolStatus.SUCCESS)
    assert states(changes) == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


def test_off_counts_nothing_and_single_tools_may_differ() -> None:
    made, _, changes = breakers("off", mail="log_and_enforce")
    for _ in range(20):
        call(made, ToolStatus.ERROR, "sum")
        call(made, ToolStatus.ERROR, "mail")
    assert {change.tool for change in changes} == {"mail"}
    assert made.refusal("sum") is None
    assert made.refusal("mail") is not None


@pytest.mark.parametrize("policy", ["off", "log_only", "log_and_enforce"])
def test_a_quarantine_counts_under_any_policy(policy: BreakerPolicy) -> None:
    made, clock, _ = breakers(policy)
    made.change("mail", BreakerState.QUARANTINED, "it leaks", clock.now, "ann")
    clock.now += 1000 * COOLDOWN
    refusal = made.refusal("mail")
    assert refusal == "it is quarantined; an administrator can release it"
    made.change("mail", BreakerState.CLOSED, "released", clock.now, "ann")
    assert made.refusal("mail") is None


EVENTS = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from(list(ToolStatus))), min_size=1, max_size=80
)


@given(EVENTS)
def test_it_opens_exactly_where_a_naive_count_says(events: list[tuple[int, ToolStatus]]) -> None:
    breaker, at, failures = Breaker("mail", COOLDOWN), 0, list[int]()
    for seconds, status in events:
        at += seconds * SECOND
        breaker.leave(breaker.enter(), status, at)
        if status in COUNTED:
            failures.append(at)
        recent = [each for each in failures if each >= at - WINDOW]
        naive_open = status in COUNTED and len(recent) >= FAILURES
        assert (breaker.state is BreakerState.OPEN) is naive_open
        if naive_open:
            return
