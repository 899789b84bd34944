"""Trying again: how often, after which pauses, after which errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
MAX_ATTEMPTS = 100
Again = Callable[[Exception], bool | float]
"""Whether to try again after this error; a number is the pause that it asks for, in seconds."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A policy for calls that fail now and may succeed later.

    `attempts` counts the first call too; the pauses double from `initial_seconds` up to
    `max_seconds`, with some chance added. Only errors of the classes `on` are worth another try.

    Raises:
        ValueError: no attempt at all, or a pause that is none.
    """

    attempts: int = 3
    initial_seconds: float = 0.5
    max_seconds: float = 30.0
    on: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= MAX_ATTEMPTS:
            raise ValueError(
                f"Retry: attempts {self.attempts!r} is not between 1 and {MAX_ATTEMPTS}"
            )
        if not 0 <= self.initial_seconds <= self.max_seconds <= 3600:
            raise ValueError(
                f"Retry: pauses from {self.initial_seconds!r} to {self.max_seconds!r} seconds are"
                " not in order, or over an hour"
            )


async def persist(call: Callable[[], Awaitable[T]], retry: Retry, again: Again) -> T:
    """Call until it succeeds, or `again` says no to its error, which is then raised.

    Cancelling interrupts the pause.
    """
    from stamina import retry_context  # 0.1 s, for those who need it

    def after(error: Exception) -> bool | float:
        return isinstance(error, Exception) and again(error)

    attempts = retry_context(
        on=after,
        attempts=None,  # `again` counts: earlier runs have tried too
        timeout=None,
        wait_initial=retry.initial_seconds,
        wait_max=retry.max_seconds,
        wait_jitter=retry.initial_seconds,
    )
    async for attempt in attempts:
        with attempt:
            return await call()
    raise AssertionError("stamina gives attempts without end")
