"""Keyset pages: a cursor is the sort key of a row, so a deep page costs what the first does."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

import orjson

from ..errors import InvalidInput
from ..storage.persistence import Row
from .records import Page

T = TypeVar("T")
MAX_PAGE = 500
BIGGEST = (1 << 63) - 1
Key = tuple[int | str, ...]


def encode_cursor(key: Key) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decode_cursor(cursor: str, *types: type[int] | type[str]) -> Key:
    """The key in a cursor, checked to be of these types.

    Raises:
        InvalidInput: this is not a cursor that a listing of this kind gave out.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        key = orjson.loads(raw)
    except (binascii.Error, ValueError):
        key = None
    if (
        not isinstance(key, list)
        or len(key) != len(types)
        or any(type(part) is not kind for part, kind in zip(key, types, strict=True))
        or any(isinstance(part, int) and abs(part) > BIGGEST for part in key)
    ):
        raise InvalidInput("after", "not a cursor of this list; use one that it returned")
    return tuple(key)


def limited(first: int) -> int:
    """The page size, plus the one row that tells whether there is a next page."""
    if not 1 <= first <= MAX_PAGE:
        raise InvalidInput("first", f"must be between 1 and {MAX_PAGE}")
    return first + 1


def page(
    rows: Sequence[Row], first: int, make: Callable[[Row], T], key: Callable[[Row], Key]
) -> Page[T]:
    """A page from up to `first + 1` rows."""
    shown = rows[:first]
    return Page(
        tuple(make(row) for row in shown),
        tuple(encode_cursor(key(row)) for row in shown),
        len(rows) > first,
    )
