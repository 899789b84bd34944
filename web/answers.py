"""The connection's side of HTTP: what of an answer leaves together."""

from __future__ import annotations

from collections.abc import Sequence

import h11


class OneWrite(h11.Connection):
    """Keeps the head of an answer that says its length until the first part of its body.

    Each write is a system call here and wakes the client there; most answers are small, and head
    and body follow each other at once. The head of a stream leaves by itself: what it announces
    may take its time.
    """

    _head: Sequence[bytes] = ()

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        """What `send` makes one piece of, as h11 says it."""
        parts = super().send_with_data_passthrough(event)
        if isinstance(event, h11.Response) and _has_length(event):
            self._head = parts or ()
            return []
        if self._head and parts is not None:
            parts, self._head = [*self._head, *parts], ()
        return parts


def _has_length(response: h11.Response) -> bool:
    return any(name == b"content-length" for name, _ in response.headers)
