"""The bodies of the chat endpoints under `/api/v1/chat`."""

from __future__ import annotations

from ..web.rest.models import MessageSend, MessageSendResponse, SessionCreate, SessionResponse

__all__ = ["MessageSend", "MessageSendResponse", "SessionCreate", "SessionResponse"]
