"""What text may be stored, the same at every surface."""

from __future__ import annotations

from ..errors import InvalidInput, NotFound

MAX_MESSAGE = 10_000
MAX_TITLE = 500
MAX_ID = 255
OWN_SESSION = "session_"
MAX_SESSION_ID = len(OWN_SESSION) + MAX_ID
"""A user's own session is named after the user, so it is the longest id that anything has."""


def checked(field: str, text: str, *, longest: int, may_be_empty: bool = False) -> str:
    """The text itself, if a database can hold it. Lengths are in code points.

    Raises:
        InvalidInput: empty, too long, or holding NUL or a lone surrogate.
    """
    if not text and not may_be_empty:
        raise InvalidInput(field, "must not be empty")
    if len(text) > longest:
        raise InvalidInput(field, f"must have at most {longest} characters, has {len(text)}")
    if "\x00" in text:
        raise InvalidInput(field, "must not contain NUL characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            field, f"character {error.start} is half of a surrogate pair; send valid Unicode"
        ) from None
    return text


def known_form(kind: str, id: str) -> str:
    """`id` itself, when a stored `kind` can have it at all.

    Raises:
        NotFound: none can.
    """
    try:
        return checked("id", id, longest=MAX_SESSION_ID)
    except InvalidInput:
        raise NotFound(kind, ascii(id[:50])) from None


def storable(text: str) -> str:
    """A model's or capability's text, with what no database can hold replaced by U+FFFD."""
    return (
        text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
