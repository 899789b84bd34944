"""Runs one server in this process: its socket, its start and stop."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import uvicorn

from ..core.errors import Unavailable
from ..core.storage.lease import FolderHeld, Lease
from .guard import refuse_unsafe
from .signals import run_stoppable

if TYPE_CHECKING:
    from ..core.settings import Settings

log = structlog.get_logger(__name__)

PING_SECONDS = 20.0
"""How often an open WebSocket is asked whether it is still there."""
PONG_SECONDS = 20.0
"""How long it may take to answer that."""
DEAD_SECONDS = 60
"""How long what was sent may wait for the other machine to take it, before a connection is given
up. Without this the system would try for a quarter of an hour, and forever with a peer whose
buffers are full."""
LAST_WORDS = 2
"""Seconds in which answers may still be sent once no work is left."""


class AddressTaken(Unavailable):
    """The address to listen on cannot be had."""

    code = "ADDRESS_TAKEN"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers at `url`. `stopped` waits until it no longer does."""

    url: str
    stopped: Callable[[], Awaitable[None]]


def serve(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; the exit code. A second signal ends the process at once,
    which loses nothing: what was running is journaled, and resumes at the next start.

    Raises:
        MissionError: the server could not start; nothing is left running.
    """

    async def until_stopped() -> int:
        async with serving(settings) as server:
            settle_garbage()
            await server.stopped()
        return 0

    return run_stoppable(until_stopped())


def settle_garbage() -> None:
    """Keep what start-up made out of every later collection. Halves the slowest answers."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@asynccontextmanager
async def serving(
    settings: Settings, plugins: Iterable[object] | None = None
) -> AsyncIterator[Running]:
    """A server that listens from enter to exit; exit drains it.

    The address is taken before any data is touched. `plugins` are served beside the installed ones.

    Raises:
        UnsafeSettings, AddressTaken, LeaseHeld: the server could not start.
    """
    refuse_unsafe(settings)
    with _listener(settings) as listener:
        # Only now: importing the server takes a second that a wrong address need not cost.
        from ..core.storage.database import Database
        from .app import create_app
        from .lifespan import lifespan
        from .patience import PatientHttp, RefusableWebSocket

        app = create_app(settings, plugins)
        server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",  # ours, below: it fails with an error instead of a log line
                http=PatientHttp,
                ws=RefusableWebSocket,
                ws_max_size=settings.max_body_bytes,
                ws_ping_interval=PING_SECONDS,
                ws_ping_timeout=PONG_SECONDS,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=LAST_WORDS,
            )
        )
        url = _url(settings.host, listener)
        # Listening before the start, so that probes can tell of it.
        app.state.phase = "starting"
        async with server.listening(listener) as listens, lifespan(app):
            try:
                if isinstance(app.state.db, Database):
                    await app.state.db.announce(url)
                log.info("server.listening", url=url, data=str(settings.data))
                yield Running(url, listens.stopped)
            finally:
                log.info("server.stopping")
                # Clients stay connected while work ends, and so hear how it does.
                app.state.phase = "draining"
                await app.state.node.drain()
                await listens.stop()


@dataclass(frozen=True, slots=True)
class _Listening:
    """A server at work, and the task that it is."""

    server: uvicorn.Server
    task: asyncio.Task[None]

    async def stopped(self) -> None:
        await asyncio.shield(self.task)

    async def stop(self) -> None:
        self.server.should_exit = True
        await self.task


class _Server(uvicorn.Server):
    """Tells when it listens, and leaves signals to `run_stoppable`."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._listens = asyncio.Event()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listens.set()

    @asynccontextmanager
    async def listening(self, listener: socket.socket) -> AsyncIterator[_Listening]:
        """Connections are accepted from enter to exit."""
        running = asyncio.create_task(self.serve([listener]), name="uvicorn")
        listening = _Listening(self, running)
        try:
            await self._accepts(running)
            yield listening
        finally:
            await listening.stop()

    async def _accepts(self, running: asyncio.Task[None]) -> None:
        """Returns once connections are accepted; raises what kept `running` from it."""
        event = asyncio.create_task(self._listens.wait())
        await asyncio.wait({event, running}, return_when=asyncio.FIRST_COMPLETED)
        event.cancel()
        if running.done():
            running.result()


def _listener(settings: Settings) -> socket.socket:
    """A socket that holds the address; callers queue until the server is ready for them."""
    try:
        return _bound(settings.host, settings.port)
    except AddressTaken:
        if holder := Lease.read(settings.data):
            # Most likely the same command, given twice: this says more.
            raise FolderHeld(settings.data, holder) from None
        raise


def _bound(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # `localhost` has two addresses; nearly every client tries IPv4, not all try IPv6.
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        # With the protocol named: asyncio turns Nagle's algorithm off only where it is, and with it
        # on, an answer in two writes waits 40 ms for the client's acknowledgement.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise AddressTaken(f"cannot listen on '{host}': {error.strerror}.") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":  # connections have it from the listener
            milliseconds = int(DEAD_SECONDS * 1000)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        # Listening now, not only when ready, is what makes a second server on this port fail.
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise AddressTaken(
            f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}."
            " Stop what uses it, or choose another with --port or MISSION_PORT (0 takes a free"
            " one)."
        ) from None
    return listener


def _url(host: str, listener: socket.socket) -> str:
    """Where this machine reaches the listener: a wildcard address is no address to call."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
