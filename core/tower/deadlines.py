"""The time limits of one run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .ledger import Ledger
from .resources import Meter
from .usage import Account


class Deadlines:
    """Warns at the soft limit of running time, calls `expire` at the hard one.

    Both are set anew when the quota is adjusted.
    """

    def __init__(
        self, account: Account, ledger: Ledger, meter: Meter, expire: Callable[[], None]
    ) -> None:
        self._account = account
        self._ledger = ledger
        self._meter = meter
        self._expire = expire
        self._timers: list[asyncio.TimerHandle] = []

    def set(self) -> None:
        self.cancel()
        self._account.adjusted = self.set
        loop = asyncio.get_running_loop()
        quota, elapsed = self._account.quota, self._ledger.elapsed()
        for limit, act in (
            (quota.timeout_seconds, self._expire),
            (quota.soft_timeout_seconds, self._meter.warn_time),
        ):
            self._timers.append(loop.call_later(max(0.0, limit - elapsed), act))

    def cancel(self) -> None:
        self._account.ignore_adjustments()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
