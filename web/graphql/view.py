"""The GraphQL endpoint: one address for every transport.

HTTP follows the GraphQL-over-HTTP specification, which Strawberry's own view does not in full;
the WebSocket protocol is Strawberry's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import orjson
from graphql import GraphQLError
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http.streaming import (
    HTTPStreamTransport,
    merge_stream_with_heartbeat,
)
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType
from strawberry.types.unset import UNSET, UnsetType

from ... import schema as schema_package
from ...core.errors import MissionError
from ...core.settings import Settings
from ...plugins.host import PluginHost
from ...schema.build import build_schema
from ...schema.context import Context
from ...schema.errors import presented
from ..auth import FORBIDDEN, TokenLost, Unauthenticated, secret_of, user_named
from ..failures import STATUS_OF
from ..guard import forbid
from ..stall import STALLED_SECONDS, DropStalled
from ..state import state_of
from .answer import answered, answered_together, refused, written
from .media import STREAMS, Media, accepted
from .operation import Operation, Refused, read_operation
from .socket import SocketAdapter, SocketContext, SocketHandler
from .streams import Parts, ServerSentEvents

PAGE = Path(schema_package.__path__[0]) / "static" / "graphiql" / "index.html"
INIT_SECONDS = 10.0

PAGE_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:;"
    " object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

T = TypeVar("T")

_TRANSPORTS: dict[Media, type[HTTPStreamTransport]] = {
    Media.EVENTS: ServerSentEvents,
    Media.MULTIPART: Parts,
}
_METHODS = {
    "GET": {OperationType.QUERY},
    "HEAD": {OperationType.QUERY},  # what a GET is answered with; the server leaves the body out
    "POST": {OperationType.QUERY, OperationType.MUTATION},
}


class _NotStreamed(Refused):
    """A subscription was to be answered by a single result."""

    def __init__(self) -> None:
        super().__init__(
            406,
            f"Subscriptions are streamed: accept {' or '.join(form.asked_for for form in STREAMS)},"
            " or open a WebSocket with the protocol graphql-transport-ws.",
        )


class GraphQLView(GraphQL[Context, None]):
    """ASGI application for the path `/graphql`, HTTP and WebSocket.

    Expects an `AppState` on `app.state`. Leaves a `HTTPException` raised while a body is read to
    the application.
    """

    websocket_adapter_class = SocketAdapter
    graphql_transport_ws_handler_class = SocketHandler

    def __init__(
        self,
        settings: Settings,
        plugins: PluginHost | None = None,
        stalled_seconds: float = STALLED_SECONDS,
    ) -> None:
        super().__init__(
            build_schema(settings, plugins=plugins),
            graphql_ide=None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=timedelta(seconds=INIT_SECONDS),
            max_subscriptions_per_connection=settings.max_socket_operations,
            allowed_origins=settings.allowed_origins,
        )
        self._batch = settings.max_batch
        self._most = settings.max_response_bytes
        self._serve = DropStalled(self._connection, stalled_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)

    async def _connection(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            try:
                user_named(HTTPConnection(scope))
            except MissionError as error:
                await forbid(error.message, scope, receive, send)
            else:
                await self._socket(WebSocket(scope, receive, send))
            return
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _socket(self, socket: WebSocket) -> None:
        context = SocketContext(socket, state_of(socket))
        try:
            async with state_of(socket).auth.while_valid(lambda: context.secret):
                await self.run(socket, context=context)
        except TokenLost:
            await socket.close(FORBIDDEN, "Forbidden")

    async def on_ws_connect(self, context: Context) -> UnsetType:
        """The handshake of the protocol, whose payload may say who calls, as browsers cannot put
        that into a header."""
        if isinstance(context, SocketContext):
            await context.admit()
        return cast(UnsetType, UNSET)

    async def _respond(self, request: Request) -> Response:
        accept = request.headers.get("accept")
        media = accepted(accept)
        try:
            if request.method not in _METHODS:
                allowed = {"Allow": "GET, HEAD, POST"}
                raise Refused(405, "GraphQL is served by GET and POST.", allowed)
            if _wants_page(request):
                policy = {"Content-Security-Policy": PAGE_POLICY}
                return FileResponse(PAGE, media_type="text/html", headers=policy)
            if media is None:
                raise Refused(406, f"Accept one of: {', '.join(form.asked_for for form in Media)}.")
            context = await context_of(request)
            operation = await read_operation(request, self._batch)
            if isinstance(operation, list):
                work = self._together(request, operation, context, media)
                return await self._while_valid(request, work)
            if media.streams:
                return await self._stream(request, operation, context, _TRANSPORTS[media]())
            try:
                run = self._run(request, operation, context)
                result = await self._while_valid(request, run)
                return answered(result, media, self._most)
            except _NotStreamed:
                stream = accepted(accept, STREAMS)
                if stream is None:
                    raise
                return await self._stream(request, operation, context, _TRANSPORTS[stream]())
        except Refused as refusal:
            return refused(refusal.error, media, refusal.status, refusal.headers)
        except MissionError as error:
            told = presented(GraphQLError(error.message, original_error=error))
            status = STATUS_OF.get(error.code, 400)
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
            return refused(told, media, status, headers)

    async def _together(
        self, request: Request, batch: list[Operation], context: Context, media: Media
    ) -> Response:
        """In order, as a client that sends one after the other would have it."""
        if media.streams:
            raise Refused(406, "A batch is not streamed: accept application/json.")
        results: list[ExecutionResult] = []
        for operation in batch:
            try:
                results.append(await self._run(request, operation, context))
            except Refused as refusal:
                results.append(PreExecutionError(data=None, errors=[refusal.error]))
        return answered_together(results, media, self._most)

    async def _while_valid(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """What this gives, unless the token is lost for which it would have been.

        Raises:
            Unauthenticated: that happened. What was begun goes on, as when the client leaves.
        """
        auth = state_of(request).auth
        if not auth.required:  # there is nothing to watch, on the path of every request
            return await work
        try:
            async with auth.while_valid(lambda: secret_of(request)):
                return await work
        except TokenLost:
            raise Unauthenticated("the token has expired or was revoked meanwhile") from None

    async def _run(
        self, request: Request, operation: Operation, context: Context
    ) -> ExecutionResult:
        try:
            return await self.schema.execute(
                operation.query,
                variable_values=operation.variables,
                context_value=context,
                operation_name=operation.name,
                allowed_operation_types=_METHODS[request.method],
                operation_extensions=operation.extensions,
            )
        except InvalidOperationTypeError as error:
            if error.operation_type is OperationType.SUBSCRIPTION:
                raise _NotStreamed from None
            raise Refused(405, "Mutations are sent by POST.", {"Allow": "POST"}) from None
        except CannotGetOperationTypeError as error:
            unknown = GraphQLError(error.as_http_error_reason(), original_error=error)
            return PreExecutionError(data=None, errors=[presented(unknown)])

    async def _stream(
        self,
        request: Request,
        operation: Operation,
        context: Context,
        transport: HTTPStreamTransport,
    ) -> Response:
        if request.method == "HEAD":
            return Response(headers=transport.headers)  # it has no end to wait for
        results = await self.schema.stream(
            operation.query,
            variable_values=operation.variables,
            context_value=context,
            operation_name=operation.name,
            allowed_operation_types=_METHODS[request.method] | {OperationType.SUBSCRIPTION},
            operation_extensions=operation.extensions,
        )

        async def parts() -> AsyncGenerator[str, None]:
            async with aclosing(results):
                async for result in results:
                    assert isinstance(result, ExecutionResult)  # incremental delivery is off
                    body: Any = orjson.Fragment(written(result, self._most))
                    yield transport.encode_next(body, self.encode_json_string)
            yield transport.encode_complete()

        merged = merge_stream_with_heartbeat(
            parts,
            lambda: transport.heartbeat_message(self.encode_json_string),
            interval=transport.heartbeat_interval,
            send_initial_heartbeat=transport.send_initial_heartbeat,
        )
        valid = state_of(request).auth.while_valid(lambda: secret_of(request))
        return _Stream(merged(), valid, headers=transport.headers)

    def encode_json(self, data: object) -> str:
        return orjson.dumps(data).decode()

    def decode_json(self, data: str | bytes) -> object:
        return orjson.loads(data)


class _Stream(StreamingResponse):
    """Closes its source when the client leaves, rather than when memory is next collected, and
    ends in good order when its client's token does."""

    def __init__(
        self,
        content: AsyncGenerator[str, None],
        valid: AbstractAsyncContextManager[None],
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(content, headers=headers)
        self._valid = valid

    async def stream_response(self, send: Send) -> None:
        assert isinstance(self.body_iterator, AsyncGenerator)
        async with aclosing(self.body_iterator):
            try:
                async with self._valid:
                    await super().stream_response(send)
            except TokenLost:
                await send({"type": "http.response.body", "body": b"", "more_body": False})


async def context_of(connection: HTTPConnection) -> Context:
    """What resolvers are given for one request.

    Raises:
        MissionError: who calls cannot be told, or may not.
    """
    state = state_of(connection)
    return Context(state.node, await state.auth.caller(connection), state.plugins)


def _wants_page(request: Request) -> bool:
    return (
        request.method in ("GET", "HEAD")
        and "query" not in request.query_params
        and "text/html" in request.headers.get("accept", "")
    )
