"""GraphQL over HTTP, server-sent events, multipart and WebSocket, at one address."""

from .view import GraphQLView

__all__ = ["GraphQLView"]
