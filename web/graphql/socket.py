"""graphql-transport-ws, where Strawberry's handler needs to be stricter or kinder."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

import orjson
from graphql import GraphQLError
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http.exceptions import NonJsonMessageReceived, WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
    Operation,
)
from strawberry.types.execution import PreExecutionError

from ...core.errors import MissionError, QuotaExceeded
from ...core.identity import Caller
from ...schema.context import Context
from ...schema.errors import presented
from ..auth import USER_HEADER, bearer, secret_of, user_name
from .answer import written

if TYPE_CHECKING:
    from starlette.websockets import WebSocket
    from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
        Message,
        SubscribeMessage,
    )

    from ..state import AppState

EXTENSIONS: ContextVar[dict[str, Any] | None] = ContextVar("extensions")
"""What was sent beside the document of an operation: the task that runs it takes it along."""

MAX_REASON = 123
"""Bytes of text that the protocol has room for when a connection is closed."""

NOBODY = Caller("")
"""Who calls before that is known: owns nothing, and no operation runs yet."""


class SocketAdapter(ASGIWebSocketAdapter):
    """Takes JSON objects only, and knows a client that has left by whatever tells of it."""

    async def iter_json(
        self, *, ignore_parsing_errors: bool = False
    ) -> AsyncGenerator[object, None]:
        async for message in super().iter_json(ignore_parsing_errors=ignore_parsing_errors):
            if not isinstance(message, dict):
                raise NonJsonMessageReceived
            if message.get("type") == "connection_init" and message.get("payload") is None:
                message.pop("payload", None)  # to the protocol, null is as good as nothing
            yield message

    async def close(self, code: int, reason: str) -> None:
        """Strawberry has one reason for all callers that are refused; theirs is `refusal`."""
        told = getattr(self.ws.state, "refusal", reason).encode()[:MAX_REASON]
        await super().close(code, told.decode(errors="ignore"))

    async def send_json(self, message: Mapping[str, object]) -> None:
        try:
            await super().send_json(message)
        except (RuntimeError, TimeoutError) as error:
            # Starlette's word for a socket that is closed, and ours for one that is stuck.
            raise WebSocketDisconnected from error


class SocketContext(Context):
    """One connection's view of the server. Who calls is known once `admit` has been."""

    def __init__(self, socket: WebSocket, state: AppState) -> None:
        super().__init__(state.node, NOBODY, state.plugins)
        self.connection_params: Mapping[str, object] = {}
        """The payload of the protocol's handshake; Strawberry puts it here."""
        self.secret: str | None = None
        self.most_bytes = state.settings.max_response_bytes
        self._socket = socket
        self._auth = state.auth

    async def admit(self) -> None:
        """Find out who calls: by the payload of the protocol's handshake, as browsers cannot set
        headers (`{"Authorization": "Bearer <token>", "X-Mission-User": "ann"}`), else by the
        headers.

        Raises:
            ConnectionRejectionError: the caller may not come in.
        """
        given = {name.lower(): value for name, value in self.connection_params.items()}
        self.secret = bearer(given.get("authorization")) or secret_of(self._socket)
        try:
            user = user_name(given.get(USER_HEADER.lower()))
            self.caller = await self._auth.caller(self._socket, self.secret, user)
        except MissionError as error:
            self._socket.state.refusal = error.message
            raise ConnectionRejectionError from error


class SocketHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """Closes the socket for a message that the protocol does not know, and for nothing else."""

    @property
    def most_bytes(self) -> int:
        assert isinstance(self.context, SocketContext)
        return self.context.most_bytes

    async def handle_message(self, message: Message) -> None:
        if fault := _fault(dict(message)):
            await self.handle_invalid_message(fault)
        else:
            await super().handle_message(message)

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        id, most = message["id"], self.max_subscriptions_per_connection
        known = not self.connection_acknowledged or id in self.operations
        if not known and most is not None and len(self.operations) >= most:
            await self._refuse(
                id,
                QuotaExceeded(
                    "max_socket_operations",
                    f"this connection has {most} operations under way, which is the most; complete"
                    " one, or open another connection",
                ),
            )
            return
        EXTENSIONS.set(cast(Any, message["payload"]).get("extensions"))
        await super().handle_subscribe(message)

    async def _send_result_stream(
        self, operation: Operation[Context, None], result_source: Any
    ) -> None:
        began = False
        async for result in result_source:
            if isinstance(result, PreExecutionError) and not began:
                await self._handle_pre_execution_error(operation, result)
                return
            payload: Any = orjson.Fragment(written(result, self.most_bytes))
            await operation.send_operation_message(
                {"id": operation.id, "type": "next", "payload": payload}
            )
            began = True

    async def run_operation(self, operation: Operation[Context, None]) -> None:
        try:
            results = await self.schema.stream(
                operation.query,
                variable_values=operation.variables,
                context_value=self.context,
                operation_name=operation.operation_name,
                operation_extensions=EXTENSIONS.get(),
            )
            async with aclosing(results):
                await self._send_result_stream(operation, results)
            await operation.send_operation_message({"id": operation.id, "type": "complete"})
        except WebSocketDisconnected:
            return
        except Exception as error:
            with suppress(WebSocketDisconnected):
                await self._refuse(operation.id, error)
            self.operations.pop(operation.id, None)

    async def _refuse(self, id: str, error: Exception) -> None:
        told = presented(GraphQLError(str(error), original_error=error))
        await self.send_message({"id": id, "type": "error", "payload": [told.formatted]})

    async def handle_task_exception(self, error: Exception) -> None:
        if not isinstance(error, WebSocketDisconnected):
            await super().handle_task_exception(error)

    @staticmethod
    def _get_pre_execution_close_reason(error: GraphQLError) -> str | None:  # noqa: ARG004
        # One bad document must not end the other operations on the socket.
        return None


def _fault(message: dict[str, Any]) -> str | None:
    """What is wrong with the form of a message, or None."""
    if not isinstance(message.get("type"), str):
        return "`type` must be a string"
    if message["type"] not in ("subscribe", "complete"):
        return None
    if not isinstance(message.get("id"), str) or not message["id"]:
        return "`id` must be a string"
    if message["type"] == "complete":
        return None
    payload = message.get("payload")
    if not isinstance(payload, dict) or not isinstance(payload.get("query"), str):
        return "`payload.query` must be a string"
    if not isinstance(payload.get("operationName"), str | None):
        return "`payload.operationName` must be a string or null"
    if not all(isinstance(payload.get(name), dict | None) for name in ("variables", "extensions")):
        return "`payload.variables` and `payload.extensions` must be objects or null"
    return None
