"""How results are framed in a stream, where clients need it otherwise than Strawberry has it."""

from __future__ import annotations

from strawberry.http.streaming import MultipartSubscriptionTransport, SSETransport


class ServerSentEvents(SSETransport):
    """Lines end in a line feed alone: readers of some clients look for a blank line and know no
    other form of one, so that with CRLF nothing would ever reach them."""

    def encode_event(self, event: str, data: str | None = None) -> str:
        """One event. `data` is JSON on one line, as the encoder writes it."""
        return f"event: {event}\ndata: {data or ''}\n\n"

    def encode_comment(self, comment: str) -> str:
        return f": {comment}\n\n"


class Parts(MultipartSubscriptionTransport):
    """A part brings the boundary after it, so that it can be read at once. The end adds no other
    one: between two there would be a part that is empty, and no JSON."""

    def encode_complete(self) -> str:
        return "--\r\n"
