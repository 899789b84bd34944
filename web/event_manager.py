"""Those who listen at `/ws`, and what they are told."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from starlette.websockets import WebSocket

from ..core.errors import NotFound
from ..core.events.bridge import EventBridge, LegacyEvent, Request, named_by
from ..core.events.event import Event
from ..core.identity import Caller
from ..core.node import Node
from ..core.settings import Settings
from ..core.tower.process import ProcessControlBlock

SEND_SECONDS = 30.0
REMEMBERED = 10_000  # processes whose request is known
TRIES = 60  # to read a process, before an event of it is given up
RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Client:
    """One connection. Frames wait in a bounded line; a client that lets it fill up is dropped."""

    def __init__(self, socket: WebSocket, caller: Caller | None, settings: Settings) -> None:
        self.caller = caller
        self.full = asyncio.Event()
        self._socket = socket
        self._ping_seconds = settings.websocket_ping_seconds
        self._idle_seconds = settings.websocket_idle_seconds
        self._frames: asyncio.Queue[str] = asyncio.Queue(settings.websocket_backlog)

    def put(self, frame: str) -> None:
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.full.set()

    async def send(self) -> None:
        """Sends what waits, until cancelled, or one frame takes too long."""
        while True:
            frame = await self._frames.get()
            async with asyncio.timeout(SEND_SECONDS):
                await self._socket.send_text(frame)

    async def receive(self) -> None:
        """Answers pings and sends its own, until the client leaves or falls silent."""
        loop = asyncio.get_running_loop()
        heard = loop.time()
        pinged = heard
        while loop.time() < heard + self._idle_seconds:
            due = min(pinged + self._ping_seconds, heard + self._idle_seconds) - loop.time()
            try:
                async with asyncio.timeout(max(due, 0.001)):
                    message = await self._socket.receive()
            except TimeoutError:
                self.put("ping")
                pinged = loop.time()
                continue
            if message["type"] == "websocket.disconnect":
                return
            heard = pinged = loop.time()
            if _is_ping(text := message.get("text")):
                self.put("pong" if text == "ping" else _encoded(_pong()))


class WebSocketEventManager:
    """Sends each event once through the bridge, and from there to every client it is for.

    Reads the feed while there are clients, and only then.
    """

    def __init__(self, node: Node, bridge: EventBridge) -> None:
        self._node = node
        self._bridge = bridge
        self._clients: set[Client] = set()
        self._requests: OrderedDict[str, Request] = OrderedDict()
        self._telling: asyncio.Task[None] | None = None

    def join(self, client: Client) -> None:
        self._clients.add(client)
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell(), name="ws-events")

    async def leave(self, client: Client) -> None:
        self._clients.discard(client)
        if not self._clients and self._telling is not None:
            telling, self._telling = self._telling, None
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell(self) -> None:
        async with aclosing(self._node.feed.follow()) as events:
            async for event in events:
                try:
                    await self._tell_one(event)
                except Exception:
                    log.exception("ws.untold", type=event.type, stream=event.stream, seq=event.seq)

    async def _tell_one(self, event: Event) -> None:
        request = named_by(event)
        if request is None:
            request = await self._request_of(event.pid) if event.pid is not None else None
        elif event.type == "process.created":
            self._remember(request.pid, request)
        elif await self._request_of(request.pid) is None:
            # Its session has taken what told of its start along; a start comes before every end.
            self._tell_all(replace(event, type="process.created"), request)
        self._tell_all(event, request)

    def _tell_all(self, event: Event, request: Request | None) -> None:
        told = self._bridge.translate(event, request)
        if told is None:
            return
        frame = _encoded(told)
        for client in tuple(self._clients):
            if client.caller is None or client.caller.user_id == event.user_id:
                client.put(frame)

    async def _request_of(self, pid: str) -> Request | None:
        """The request that a process works for, its own or that of whoever spawned it."""
        known = self._requests.get(pid)
        if known is not None:
            return known
        try:
            process = await self._process(pid)
        except NotFound:
            return None  # removed with its session
        if process.parent_pid is not None:
            request = await self._request_of(process.parent_pid)
        else:
            request = Request(process.pid, process.request_id)
        if request is not None:
            self._remember(pid, request)
        return request

    def _remember(self, pid: str, request: Request) -> None:
        self._requests[pid] = request
        if len(self._requests) > REMEMBERED:
            self._requests.popitem(last=False)

    async def _process(self, pid: str) -> ProcessControlBlock:
        for _ in range(TRIES - 1):
            try:
                return await self._node.tower.get_anyones(pid)
            except NotFound:
                raise
            except Exception:
                log.exception("ws.process_unread", pid=pid)
                await asyncio.sleep(RETRY_SECONDS)  # the storage may need a moment
        return await self._node.tower.get_anyones(pid)


def _is_ping(text: object) -> bool:
    if text == "ping":
        return True
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return False
    try:
        given: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(given, Mapping) and given.get("type") == "ping"


def _pong() -> LegacyEvent:
    return LegacyEvent("pong", {}, datetime.now(UTC).isoformat())


def _encoded(event: LegacyEvent) -> str:
    return orjson.dumps(event.as_json()).decode()
