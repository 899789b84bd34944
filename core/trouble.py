"""How work that is tried again and again tells the log that it fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 600.0
SETTLED_SECONDS = 5.0


class Trouble:
    """One piece of work that fails, perhaps for long: the log is told what it is, that it lasts,
    and that it is over, and not each time anew.

    The first error of each type has its trace. What goes on like that has a line after 10 seconds,
    after 20 more, and so on, every 10 minutes at last. It is over with what works when nothing has
    failed for 5 seconds: of work that is done side by side, some may fail and some not.
    """

    def __init__(
        self, log: Any, failed: str, over: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`failed` and `over`: what `log` calls the two."""
        self._log = log
        self._failed = failed
        self._over = over
        self._clock = clock
        self._kinds: set[type[Exception]] = set()
        self._failures = 0
        self._since = self._told = self._last = 0.0
        self._silence = FIRST_SECONDS

    def met(self, error: Exception, **details: Any) -> None:
        """It failed once more. `details` stand in the line, if there is one."""
        at = self._last = self._clock()
        self._failures += 1
        if not self._kinds:
            self._since = self._told = at
        if type(error) not in self._kinds:
            self._kinds.add(type(error))
            self._log.error(self._failed, exc_info=error, **details)
        elif at >= self._told + self._silence:
            self._told, self._silence = at, min(2 * self._silence, LONGEST_SECONDS)
            told = f"{type(error).__name__}: {error}"
            self._log.error(self._failed, error=told, **self._extent(at), **details)

    def passed(self) -> None:
        """It worked."""
        if self._kinds and self._clock() >= self._last + SETTLED_SECONDS:
            self._log.info(self._over, **self._extent(self._clock()))
            self._kinds.clear()
            self._failures, self._silence = 0, FIRST_SECONDS

    def _extent(self, at: float) -> dict[str, int]:
        return {"failures": self._failures, "for_seconds": round(at - self._since)}
