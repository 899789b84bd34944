"""A file that is sent while it is made."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import quote

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ..stall import STALLED_SECONDS, DropStalled

# The characters of a token but the percent sign, which some take for an encoding. The at sign is of
# no token, yet parts nothing in a header, and ids are often made of addresses.
PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$&'*+.^_`|~@-]+")
NOT_QUOTABLE = re.compile(r"[^ -~]|[\"\\%/]")
PIECE = 64 * 1024  # characters that are sent at once


class Download(StreamingResponse):
    """Closes `parts` as soon as the client has all of it, leaves, or stops reading."""

    def __init__(
        self,
        filename: str,
        media_type: str,
        parts: AsyncGenerator[str, None],
        stalled_seconds: float = STALLED_SECONDS,
    ) -> None:
        headers = {"Content-Type": media_type, "Content-Disposition": _attachment(filename)}
        self._body = _gathered(parts)
        super().__init__(self._body, headers=headers)
        self._serve = DropStalled(super().__call__, stalled_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._body):
            await self._serve(scope, receive, send)


def _attachment(filename: str) -> str:
    if PLAIN_NAME.fullmatch(filename):
        return f"attachment; filename={filename}"
    # Clients that know the second form prefer it; others look for the first one alone.
    like_it = NOT_QUOTABLE.sub("_", filename)
    return f"attachment; filename=\"{like_it}\"; filename*=UTF-8''{quote(filename, safe='')}"


async def _gathered(parts: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """The same text in fewer parts: each costs a system call."""
    waiting: list[str] = []
    size = 0
    async with aclosing(parts):
        async for part in parts:
            waiting.append(part)
            size += len(part)
            if size >= PIECE:
                yield "".join(waiting)
                waiting, size = [], 0
        yield "".join(waiting)
