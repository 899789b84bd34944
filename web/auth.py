"""Who is calling: the one place where a `Caller` is made from a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from starlette.requests import HTTPConnection

from ..core.chat.text import checked
from ..core.errors import Forbidden, InvalidInput, MissionError
from ..core.identity import LOCAL, Caller
from ..core.settings import Settings
from ..core.tokens.service import TokenService
from ..core.trouble import Trouble

log = structlog.get_logger(__name__)

USER_HEADER = "X-Mission-User"
MAX_USER = 255
FORBIDDEN = 4403
"""The close code of a WebSocket whose caller may not come in, or may not go on."""
RECHECK_SECONDS = 15.0
"""How often a connection that stays open is asked whether its token is still valid."""


class Unauthenticated(MissionError):
    """The server wants a token, and there is none, or none that is valid."""

    code = "UNAUTHENTICATED"


class TokenLost(Exception):
    """The token of an open connection has expired or was revoked."""


class Authenticator:
    """Tells callers by the mode of the settings: `none` believes them, `tokens` does not."""

    def __init__(self, settings: Settings, tokens: TokenService) -> None:
        self._required = settings.auth == "tokens"
        self._tokens = tokens
        self._trouble = Trouble(log, "auth.recheck_failed", "auth.rechecked_again")

    @property
    def required(self) -> bool:
        """Whether a caller has to show a token."""
        return self._required

    async def caller(
        self, connection: HTTPConnection, secret: str | None = None, user: str | None = None
    ) -> Caller:
        """Who calls: the owner of the token (`secret`, or the Authorization header's), or without
        authentication whoever is named, by `user` or by the header X-Mission-User.

        Raises:
            Unauthenticated: a token is wanted and there is none that is valid.
            Forbidden: somebody is named whom the token may not act for, or whom the header does
                not name.
            InvalidInput: the header is not a name.
        """
        named = user_named(connection)
        if user is not None and named not in (None, user):
            # Whoever set the header, a proxy it may be, has said who this connection is.
            raise Forbidden(f"the header {USER_HEADER} of this connection names somebody else")
        named = user if named is None else named
        if not self._required:
            return LOCAL if named in (None, LOCAL.user_id) else Caller(named or "")
        token = await self._tokens.check(secret or secret_of(connection) or "")
        if token is None:
            raise Unauthenticated("a valid token is needed: `Authorization: Bearer <token>`")
        return acting_for(token.caller, named)

    @asynccontextmanager
    async def while_valid(self, secret: Callable[[], str | None]) -> AsyncIterator[None]:
        """Ends its body soon after the token is valid no more; while there is none, it waits.

        Raises:
            TokenLost: that happened.
        """
        if not self._required:
            yield
            return
        body = asyncio.timeout(None)
        watch = asyncio.create_task(self._watch(secret, body), name="token-watch")
        try:
            async with body:
                yield
        except TimeoutError:
            if body.expired():
                raise TokenLost from None
            raise
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self, secret: Callable[[], str | None], body: asyncio.Timeout) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            shown = secret()
            if shown is not None and not await self._is_valid(shown):
                body.reschedule(asyncio.get_running_loop().time())
                return

    async def _is_valid(self, secret: str) -> bool:
        try:
            valid = await self._tokens.check(secret) is not None
        except Exception as error:
            # The storage is out of reach; whoever came in stays until it can be asked again.
            self._trouble.met(error)
            return True
        self._trouble.passed()
        return valid


def acting_for(caller: Caller, user: str | None) -> Caller:
    """The caller as the user it names: a service may name anybody, others only themselves.

    Raises:
        Forbidden: it may not.
    """
    if user is None or user == caller.user_id:
        return caller
    if caller.role != "service":
        raise Forbidden(f"this token is bound to one user, who is not '{user[:100]}'")
    return Caller(user, caller.role)


def secret_of(connection: HTTPConnection) -> str | None:
    """The token in the Authorization header."""
    return bearer(connection.headers.get("authorization"))


def bearer(value: object) -> str | None:
    """The token in `Bearer <token>`, None for anything else."""
    if not isinstance(value, str):
        return None
    scheme, _, secret = value.partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def user_named(connection: HTTPConnection) -> str | None:
    """Whom the header X-Mission-User names, None without it.

    Raises:
        InvalidInput: it is empty, longer than 255 characters or not UTF-8.
    """
    raw = connection.headers.get(USER_HEADER)
    if raw is None:
        return None
    try:
        # Header values arrive as Latin-1; a name is UTF-8 everywhere else.
        return user_name(raw.encode("latin-1").decode())
    except UnicodeDecodeError:
        raise InvalidInput(USER_HEADER, "must be UTF-8") from None


def user_name(given: object) -> str | None:
    """The name of a user that a caller gives, None where it gives none.

    Raises:
        InvalidInput: it is no text, or none that names a user: 1 to 255 characters.
    """
    if given is None:
        return None
    if not isinstance(given, str):
        raise InvalidInput(USER_HEADER, "must be a string")
    return checked(USER_HEADER, given, longest=MAX_USER)
