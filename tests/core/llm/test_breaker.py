from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from mission_system.core.errors import LLMError
from mission_system.core.llm.breaker import Breaker

DOWN = LLMError("unavailable", "down")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def call(breaker: Breaker, error: BaseException | None = None) -> None:
    """One that ends at once."""
    with suppress(LLMError, asyncio.CancelledError), breaker.calling():
        if error is not None:
            raise error


def failing(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        call(breaker, DOWN)


def refusal(breaker: Breaker) -> LLMError:
    with pytest.raises(LLMError) as caught:
        breaker.check()
    return caught.value


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("acme", 3, 30, clock)


def test_it_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    failing(breaker, 2)
    call(breaker)
    failing(breaker, 2)
    breaker.check()
    failing(breaker)
    error = refusal(breaker)
    assert (error.kind, error.retry_after) == ("unavailable", 30)
    assert "acme has failed 3 times" in error.message


def test_one_call_tries_when_its_time_is_over_and_lets_the_others_in(
    breaker: Breaker, clock: Clock
) -> None:
    failing(breaker, 3)
    clock.now += 30
    with breaker.calling():
        refusal(breaker)
    breaker.check()


def test_it_stays_open_when_the_one_that_tries_fails(breaker: Breaker, clock: Clock) -> None:
    failing(breaker, 3)
    clock.now += 30
    failing(breaker)
    assert refusal(breaker).retry_after == 30


def test_one_that_tries_and_leaves_makes_room_for_another(breaker: Breaker, clock: Clock) -> None:
    failing(breaker, 3)
    clock.now += 30
    call(breaker, asyncio.CancelledError())
    breaker.check()
    call(breaker)
    failing(breaker, 2)
    breaker.check()


@pytest.mark.parametrize("error", [DOWN, asyncio.CancelledError()])
def test_one_from_before_it_opened_is_not_the_one_that_tries(
    breaker: Breaker, clock: Clock, error: BaseException
) -> None:
    trial = breaker.calling()
    with suppress(LLMError, asyncio.CancelledError), breaker.calling():
        failing(breaker, 3)
        clock.now += 30
        trial.__enter__()
        raise error
    clock.now += 30
    refusal(breaker)
    trial.__exit__(None, None, None)
    breaker.check()


def test_a_provider_that_limits_its_rate_is_left_alone_as_long_as_it_says(
    breaker: Breaker, clock: Clock
) -> None:
    call(breaker, LLMError("rate_limited", "slow down", 7))
    clock.now += 2
    error = refusal(breaker)
    assert (error.kind, error.retry_after) == ("rate_limited", 5)
    assert "try again in 5 seconds" in error.message
    clock.now += 5
    breaker.check()


def test_time_to_wait_is_told_in_whole_seconds_that_suffice(breaker: Breaker, clock: Clock) -> None:
    call(breaker, LLMError("rate_limited", "slow down", 0.25))
    assert "try again in 1 seconds" in refusal(breaker).message


def test_other_failures_show_that_it_is_there(breaker: Breaker) -> None:
    failing(breaker, 2)
    call(breaker, LLMError("invalid", "no such model"))
    failing(breaker, 2)
    breaker.check()


def told(breaker: Breaker) -> tuple[str, int, float | None]:
    status = breaker.status()
    assert status.provider == "acme"
    return status.state.value, status.failures, status.wait


def test_it_says_how_it_is(breaker: Breaker, clock: Clock) -> None:
    assert told(breaker) == ("closed", 0, None)
    call(breaker, LLMError("rate_limited", "slowly", 20))
    assert told(breaker) == ("limited", 0, 20)
    clock.now += 20
    failing(breaker, 2)
    assert told(breaker) == ("closed", 2, None)
    failing(breaker)
    assert told(breaker) == ("open", 3, 30)
    clock.now += 29
    assert told(breaker) == ("open", 3, 1)
    clock.now += 1
    assert told(breaker) == ("half_open", 3, None)
    call(breaker)
    assert told(breaker) == ("closed", 0, None)
