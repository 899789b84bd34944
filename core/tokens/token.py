"""Tokens: what a caller shows to say who it is. Only their digests are stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from ..clock import now, to_datetime
from ..identity import Caller, Role

PREFIX = "mst_"
"""Begins every token, so that one that leaks is recognised for what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is stored. `user_id` is whose it is; a service names its users itself."""

    id: str
    label: str
    user_id: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @property
    def valid(self) -> bool:
        """Whether it opens the door at this moment."""
        lives = self.expires_at is None or self.expires_at > to_datetime(now())
        return self.revoked_at is None and lives

    @property
    def caller(self) -> Caller:
        return Caller(self.user_id, self.role)


def digest(secret: str) -> str:
    """What is stored of a token and looked up by it.

    A token has 256 random bits, so a fast hash is enough; and as only digests are compared, the
    time that a look-up takes says nothing about a token.
    """
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
