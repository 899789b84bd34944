"""A small client of the server's GraphQL, over graphql-transport-ws."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from ...core.errors import MissionError
from ..auth import FORBIDDEN, USER_HEADER

PROTOCOL = Subprotocol("graphql-transport-ws")
TIMEOUT = 10.0
PATIENCE = 30.0
RETRY_SECONDS = 0.5
ENDINGS = frozenset({"process.completed", "process.failed", "process.cancelled"})
Json = dict[str, Any]


class ServerGone(MissionError):
    """The server does not answer, or stopped answering in the middle of something."""

    code = "SERVER_GONE"


class Refused(MissionError):
    """The server answered, and said no."""

    code = "REFUSED"


class Client:
    """Talks to one server. Each operation has a connection of its own, so that one that is read
    slowly holds up no other.

    `locate` gives the server's URL whenever a connection is made: a server that was restarted may
    have another. It raises `ServerGone` when there is none.
    """

    def __init__(
        self, locate: Callable[[], str], user: str | None = None, token: str | None = None
    ) -> None:
        self._locate = locate
        # As the server reads it: UTF-8, in a header that carries Latin-1.
        name = user.encode().decode("latin-1") if user is not None else None
        self._headers = {} if name is None else {USER_HEADER: name}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    async def execute(self, document: str, variables: Json) -> Json:
        """The `data` of a query or mutation.

        Raises:
            ServerGone: there is no answer; a mutation may have happened all the same.
            Refused: the server answered with an error.
        """
        async with aclosing(self._results(document, variables)) as results:
            async for data in results:
                return data
        raise ServerGone("the server ended the operation without a result; ask again")

    async def follow(
        self, document: str, variables: Json, field: str, lost: Callable[[], None]
    ) -> AsyncGenerator[Json, None]:
        """The events of a process, to the one that ends it.

        `document` subscribes to events under `field`, after a cursor. A stream that breaks off is
        taken up again from the last event seen, for up to 30 seconds; `lost` is called when that
        begins.
        """
        loop = asyncio.get_running_loop()
        lost_at: float | None = None
        while True:
            try:
                async with aclosing(self._results(document, variables)) as results:
                    async for data in results:
                        event: Json = data[field]
                        variables = {**variables, "after": event["cursor"]}
                        lost_at = None
                        yield event
                        if event["type"] in ENDINGS:
                            return
                raise ServerGone("the server broke off")
            except ServerGone:
                if lost_at is None:
                    lost_at = loop.time()
                    lost()
                if loop.time() - lost_at > PATIENCE:
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def _results(self, document: str, variables: Json) -> AsyncGenerator[Json, None]:
        async with self._connected() as socket:
            payload = {"query": document, "variables": variables}
            await _send(socket, {"type": "connection_init"})
            await _send(socket, {"id": "1", "type": "subscribe", "payload": payload})
            while True:
                message = json.loads(await socket.recv())
                match message["type"]:
                    case "next":
                        yield _data(message["payload"])
                    case "error":
                        raise Refused(_told(message["payload"]))
                    case "complete":
                        return
                    case "ping":
                        await _send(socket, {"type": "pong"})

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[ClientConnection]:
        url = self._locate()
        address = f"ws{url.removeprefix('http').rstrip('/')}/graphql"
        try:
            async with connect(
                address,
                subprotocols=[PROTOCOL],
                additional_headers=self._headers,
                open_timeout=TIMEOUT,
                close_timeout=TIMEOUT,
                max_size=None,  # the server is trusted, and bounds what it sends
                proxy=None,
            ) as socket:
                yield socket
        except InvalidStatus as error:
            status, reason = error.response.status_code, _reason(error)
            if status == 503:  # it is starting
                raise ServerGone(f"{url}: {reason or 'the server answered 503'}") from None
            raise Refused(
                reason
                or f"{url} is not where a server is: {address} was answered with {status}. Its"
                " address has no path, such as http://127.0.0.1:8000"
            ) from None
        except ConnectionClosed as error:
            if error.rcvd is not None and error.rcvd.code == FORBIDDEN:
                raise Refused(
                    f"{url}: the server wants a token that is valid, and this user's. Make one"
                    " with `mission token create` and put it into MISSION_TOKEN"
                ) from None
            if error.rcvd is not None and 4400 <= error.rcvd.code < 4500:
                raise Refused(f"{url}: {error.rcvd.reason}") from None
            raise ServerGone(f"{url}: the connection was lost") from None
        except (OSError, TimeoutError, InvalidHandshake) as error:
            raise ServerGone(f"no server answers at {url}: {error}") from None


async def _send(socket: ClientConnection, message: Json) -> None:
    await socket.send(json.dumps(message))


def _data(payload: Json) -> Json:
    if payload.get("errors"):
        raise Refused(_told(payload["errors"]))
    data: Json = payload["data"]
    return data


def _told(errors: list[Json]) -> str:
    return "; ".join(str(error.get("message")) for error in errors)


def _reason(error: InvalidStatus) -> str | None:
    """What an HTTP answer to a handshake says, without its envelope; None where it says nothing."""
    try:
        body = json.loads(error.response.body or b"")
        return _told(body["errors"]) if "errors" in body else str(body["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
