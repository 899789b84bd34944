"""Who asks. Made once at each surface's door; every service method receives one."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from typing import Literal

Role = Literal["user", "admin", "service"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The user on whose behalf a service is called. Ownership is checked against `user_id`."""

    user_id: str
    role: Role = "user"

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


LOCAL = Caller("local", "admin")
"""The one person on a machine without authentication."""

SYSTEM = Caller("system", "admin")
"""The server itself: recovery, expiry, retention."""


class _Ids:
    """UUIDs version 7 in strictly ascending order (RFC 9562, section 6.2, method 1).

    Time in milliseconds, a counter of 12 bits, 62 random bits. The counter of a new millisecond
    begins at random in its lower half; when it runs over, the next millisecond is taken early.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def new(self) -> int:
        stamp = time.time_ns() // 1_000_000
        random = secrets.randbits(62 + 11)
        counter = random >> 62
        with self._lock:  # a clock that is set back changes nothing
            self._last = place = max(stamp << 12 | counter, self._last + 1)
        stamp, counter = place >> 12, place & 0xFFF
        return stamp << 80 | 7 << 76 | counter << 64 | 2 << 62 | random & ((1 << 62) - 1)


_IDS = _Ids()


def new_id() -> str:
    """A UUID version 7: unguessable, and above every earlier one of this process of the system."""
    text = f"{_IDS.new():032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_secret() -> str:
    """256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)
