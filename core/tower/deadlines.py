"""The time limits of one run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .ledger import Ledger
from .resources import Meter
from .usage import Account

GRACE_SECONDS = 5.0


class Deadlines:
    """Warns at the soft limit of running time, calls `expire` at the hard one, and `overrun` where
    the run has not ended `GRACE_SECONDS` after that.

    One timer waits for whichever is next; it is set anew when the quota is adjusted.
    """

    def __init__(
        self,
        account: Account,
        ledger: Ledger,
        meter: Meter,
        expire: Callable[[], None],
        overrun: Callable[[], None],
    ) -> None:
        self._account = account
        self._ledger = ledger
        self._meter = meter
        self._expire = expire
        self._overrun = overrun
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        self.cancel()
        self._account.adjusted = self.set
        quota, elapsed = self._account.quota, self._ledger.elapsed()
        if quota.soft_timeout_seconds < quota.timeout_seconds:
            self._call(quota.soft_timeout_seconds - elapsed, self._warn)
        else:
            self._call(quota.timeout_seconds - elapsed, self._end)

    def cancel(self) -> None:
        self._account.ignore_adjustments()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _warn(self) -> None:
        self._meter.warn_time()
        self._call(self._account.quota.timeout_seconds - self._ledger.elapsed(), self._end)

    def _end(self) -> None:
        self._account.ignore_adjustments()
        self._expire()
        self._call(GRACE_SECONDS, self._overrun)

    def _call(self, seconds: float, act: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), act)
