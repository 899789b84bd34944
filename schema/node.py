"""Global ids: opaque names that are unique over all types."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error

import strawberry

from ..core.chat.text import known_form
from ..core.errors import NotFound


@strawberry.interface(description="Anything that `node(id)` can fetch again.")
class Node:
    id: strawberry.ID = strawberry.field(description="Opaque id, unique over all types.")


def global_id(kind: str, key: str) -> strawberry.ID:
    return strawberry.ID(urlsafe_b64encode(f"{kind}:{key}".encode()).decode())


def split_id(id: str) -> tuple[str, str] | None:
    """The type and key in a global id, or None when it is not one."""
    try:
        kind, colon, key = urlsafe_b64decode(id.encode("ascii")).decode().partition(":")
    except (UnicodeError, Base64Error):
        return None
    # Decoding is lenient; only what encodes back to the same text was made by us.
    return (kind, key) if colon and kind.isidentifier() and global_id(kind, key) == id else None


def key_of(id: str, kind: str) -> str:
    """The key of a `kind`, from its global id or given as it is.

    Raises:
        NotFound: no `kind` can have this id.
    """
    parts = split_id(id)
    if parts is None:
        return known_form(kind, id)
    if parts[0] != kind:
        raise NotFound(kind, id)
    return known_form(kind, parts[1])


def number_of(kind: str, key: str) -> int:
    """`key` as a positive 64-bit number.

    Raises:
        NotFound: it is not one, so there is no such `kind`.
    """
    if not (key.isascii() and key.isdigit() and len(key) < 20 and int(key) < 2**63):
        raise NotFound(kind, key)
    return int(key)
