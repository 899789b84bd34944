"""Who asks. Made once at each surface's door; every service method receives one."""

from __future__ import annotations

import os
import secrets
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


def new_id() -> str:
    """A UUID version 7 (RFC 9562, section 5.7): unique, and ordered by creation time."""
    value = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_secret() -> str:
    """256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)
