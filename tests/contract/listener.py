"""A client of `/ws` that keeps what it has heard."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .served import SECONDS, Served

Json = dict[str, Any]
OUTCOMES = {
    f"orchestrator.{name}"
    for name in (
        *("completed", "failed", "clarification", "confirmation", "cancelled"),
        "resource_exhausted",
    )
}


@dataclass
class Listener:
    connection: ClientConnection
    heard: list[Json] = field(default_factory=list)

    def frame(self) -> str:
        text = self.connection.recv(SECONDS)
        assert isinstance(text, str)
        return text

    def event(self) -> Json:
        """The next event, whatever signs of life come before it."""
        while (text := self.frame()) in ("ping", "pong"):
            pass
        event: Json = json.loads(text)
        assert set(event) == {"event", "event_type", "payload", "timestamp"}
        assert event["event"] == event["event_type"]
        assert datetime.fromisoformat(event["timestamp"]).utcoffset() is not None
        assert isinstance(event["payload"], dict)
        self.heard.append(event)
        return event

    def until(self, wanted: Callable[[Json], bool]) -> Json:
        """The first event from here on that is wanted."""
        while not wanted(event := self.event()):
            pass
        return event

    def outcome(self, request_id: str) -> Json:
        """The next outcome of a request."""
        return self.until(
            lambda e: e["event"] in OUTCOMES and e["payload"]["request_id"] == request_id
        )

    def chat(self, session_id: str, name: str) -> Json:
        """The next event of this name about a session."""
        return self.until(lambda e: e["event"] == name and e["payload"]["session_id"] == session_id)

    def of_request(self, request_id: str) -> list[Json]:
        """What was heard of a request."""
        return [each for each in self.heard if each["payload"].get("request_id") == request_id]

    def ping(self) -> None:
        """All that was sent to this client before has arrived; it goes on."""
        self.connection.send('{"type": "ping"}')
        pong = self.until(lambda e: e["event"] == "pong")
        assert pong["payload"] == {}

    def closed(self) -> int | None:
        """The code with which the server ends it."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                self.connection.recv(SECONDS)
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else None
        raise AssertionError("it is still open")


@contextmanager
def listening(server: Served, query: str = "", **options: Any) -> Iterator[Listener]:
    with connect(f"{server.websocket}{query}", proxy=None, **options) as connection:
        listener = Listener(connection)
        listener.ping()  # from here on it is among those who are told
        listener.heard.clear()
        yield listener
