"""Keeps calls away from a provider that fails, or that has asked to be left alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from ..errors import LLMError


class ProviderState(StrEnum):
    """Whether a provider is asked."""

    CLOSED = "closed"
    LIMITED = "limited"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """A provider's breaker at one moment. `failures` are those in a row; `wait` is how long it is
    left alone, in seconds."""

    provider: str
    state: ProviderState = ProviderState.CLOSED
    failures: int = 0
    wait: float | None = None


class Breaker:
    """Opens after `failures` in a row, for `seconds`; then one call may try.

    If that one succeeds, all may call again; if not, it stays open for as long again. A provider
    that limits its rate is left alone for as long as it says.
    """

    def __init__(
        self,
        name: str,
        failures: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._most = failures
        self._seconds = seconds
        self._clock = clock
        self._failed = 0
        self._open_until = 0.0
        self._limited_until = 0.0
        self._trying = False

    def check(self) -> None:
        """Refuse a call that may not be made now.

        Raises:
            LLMError: `rate_limited` or `unavailable`, with the time to wait.
        """
        now = self._clock()
        if (wait := self._limited_until - now) > 0:
            text = f"{self._name} limits the rate of calls; try again in {math.ceil(wait)} seconds"
            raise LLMError("rate_limited", text, wait, self._name)
        if self._failed < self._most:
            return
        wait = self._open_until - now
        if wait > 0 or self._trying:
            text = f"{self._name} has failed {self._failed} times in a row, and is left alone"
            raise LLMError("unavailable", text, max(wait, 1.0), self._name)

    def status(self) -> ProviderStatus:
        """How it is now."""
        now = self._clock()
        is_open = self._failed >= self._most
        wait = max(self._limited_until - now, self._open_until - now if is_open else 0.0)
        if is_open:
            state = ProviderState.OPEN if now < self._open_until else ProviderState.HALF_OPEN
        else:
            state = ProviderState.LIMITED if wait > 0 else ProviderState.CLOSED
        return ProviderStatus(self._name, state, self._failed, wait if wait > 0 else None)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """A call that is made now. How it ends is noted; one that its caller breaks off, or that
        fails otherwise than by LLMError, says nothing.

        Raises:
            LLMError: as `check`.
        """
        self.check()
        tries = self._failed >= self._most
        self._trying = self._trying or tries
        try:
            yield
        except LLMError as error:
            self._note(error)
            raise
        else:
            self._failed = 0
        finally:
            if tries:  # one that began before the breaker opened is not the one that tries
                self._trying = False

    def _note(self, error: LLMError) -> None:
        """Only `unavailable` counts: whoever refuses or limits is there."""
        if error.kind == "unavailable":
            self._failed += 1
            if self._failed >= self._most:
                self._open_until = self._clock() + self._seconds
            return
        self._failed = 0
        if error.kind == "rate_limited" and error.retry_after:
            until = self._clock() + error.retry_after
            self._limited_until = max(self._limited_until, until)
