"""Makes, lists, revokes and checks tokens."""

from __future__ import annotations

import time
from collections import OrderedDict

from ..chat.text import MAX_ID, checked
from ..clock import SECOND, maybe_datetime, now, to_datetime
from ..errors import Conflict, InvalidInput, NotFound
from ..identity import Role, new_id, new_secret
from ..storage.persistence import Persistence, Row, Transaction
from .token import PREFIX, Token, digest

REMEMBER_SECONDS = 15.0
"""How long a check is trusted: a revocation made elsewhere is heard of within this time."""
MAX_REMEMBERED = 4096
MAX_DAYS = 3650
DAY = 24 * 3600


class TokenService:
    """The tokens of one database. Checks are remembered for a short while, at most 4,096."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence
        self._remembered: OrderedDict[str, tuple[float, Token | None]] = OrderedDict()

    async def create(
        self, user_id: str, *, role: Role = "user", label: str = "", days: float | None = None
    ) -> tuple[Token, str]:
        """A new token and its secret, which is shown now and never again.

        Raises:
            InvalidInput: the user, the label, or a lifetime not between 0 and 3,650 days.
        """
        checked("user", user_id, longest=MAX_ID)
        checked("label", label, longest=MAX_ID, may_be_empty=True)
        if days is not None and not 0 < days <= MAX_DAYS:
            raise InvalidInput("days", f"must be more than 0 and at most {MAX_DAYS}")
        secret, at = PREFIX + new_secret(), now()
        expires_at = None if days is None else at + int(days * DAY * SECOND)
        token = Token(
            id=new_id(),
            label=label,
            user_id=user_id,
            role=role,
            created_at=to_datetime(at),
            expires_at=maybe_datetime(expires_at),
            revoked_at=None,
        )

        async def unit(tx: Transaction) -> None:
            await tx.execute(
                "INSERT INTO token (id, label, user_id, role, digest, created_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (token.id, label, user_id, role, digest(secret), at, expires_at),
            )

        await self._persistence.write(unit)
        return token, secret

    async def list_tokens(self) -> list[Token]:
        """Every token, revoked and expired ones too, oldest first."""
        rows = await self._persistence.fetch_all("SELECT * FROM token ORDER BY id")
        return [_token_from(row) for row in rows]

    async def revoke(self, token_id: str) -> Token:
        """End a token for good.

        Raises:
            NotFound, Conflict: there is none of this id, or it was revoked before.
        """

        async def unit(tx: Transaction) -> Token:
            changed = await tx.execute(
                "UPDATE token SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
                (now(), token_id),
            )
            row = await tx.fetch_one("SELECT * FROM token WHERE id = ?", (token_id,))
            if row is None:
                raise NotFound("token", token_id)
            if not changed:
                raise Conflict("the token was revoked before")
            return _token_from(row)

        token = await self._persistence.write(unit)
        self._remembered.clear()
        return token

    async def check(self, secret: str) -> Token | None:
        """The token of this secret, or None where there is none, or none that is valid now."""
        key = digest(secret)
        at, token = self._remembered.get(key, (float("-inf"), None))
        if time.monotonic() - at > REMEMBER_SECONDS:
            row = await self._persistence.fetch_one("SELECT * FROM token WHERE digest = ?", (key,))
            token = None if row is None else _token_from(row)
            self._remember(key, token)
        return token if token is not None and token.valid else None

    def _remember(self, key: str, token: Token | None) -> None:
        self._remembered[key] = (time.monotonic(), token)
        self._remembered.move_to_end(key)
        while len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)


def _token_from(row: Row) -> Token:
    return Token(
        id=row["id"],
        label=row["label"],
        user_id=row["user_id"],
        role=row["role"],
        created_at=to_datetime(row["created_at"]),
        expires_at=maybe_datetime(row["expires_at"]),
        revoked_at=maybe_datetime(row["revoked_at"]),
    )
