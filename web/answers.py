"""The connection's side of HTTP: what of an answer leaves together."""

from __future__ import annotations

import h11


class OneWrite(h11.Connection):
    """Keeps the head of an answer that says its length until the first part of its body.

    Each write is a system call here and wakes the client there; most answers are small, and head
    and body follow each other at once. The head of a stream leaves by itself: what it announces
    may take its time.
    """

    _head: bytes = b""

    def send(self, event: h11.Event) -> bytes | None:
        output = super().send(event)
        if isinstance(event, h11.Response) and _has_length(event):
            self._head = output or b""
            return b""
        if self._head and output is not None:
            output, self._head = self._head + output, b""
        return output


def _has_length(response: h11.Response) -> bool:
    return any(name == b"content-length" for name, _ in response.headers)
