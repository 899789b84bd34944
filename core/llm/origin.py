"""Where an exception comes from, for logs that must not have what it says."""

from __future__ import annotations

import traceback


def origin_of(error: BaseException) -> dict[str, str]:
    """Its class, as `error`, and its traceback, as `where`: its text may quote a key, or the
    conversation, and so may that of what it was raised from."""
    where = "".join(traceback.format_tb(error.__traceback__))
    return {"error": type(error).__name__, "where": where}
