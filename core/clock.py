"""Time in the database is microseconds since the epoch, UTC: one exact, sortable, portable form."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

Micros = int
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Micros = 1_000_000
_MICROSECOND = timedelta(microseconds=1)


def now() -> Micros:
    """The current time in microseconds since the epoch."""
    return time.time_ns() // 1000


@lru_cache(maxsize=64)  # all that one unit writes has the same time
def to_datetime(value: Micros) -> datetime:
    """An aware UTC datetime, exact to the microsecond."""
    return EPOCH + timedelta(microseconds=value)


def maybe_datetime(value: Micros | None) -> datetime | None:
    return None if value is None else to_datetime(value)


def from_datetime(value: datetime) -> Micros:
    """Microseconds since the epoch; a naive datetime is taken as UTC."""
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return (value - EPOCH) // _MICROSECOND
