"""What our servers are compared with: bare Starlette that does the least a server could do.

    python bench/floor.py DATABASE FILENO

Serves on a listening socket that it inherits. JSON is Starlette's own.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import aiosqlite
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

ROWS = 1000


@dataclass(frozen=True, slots=True)
class Item:
    id: str
    name: str
    version: int
    description: str
    max_concurrent: int
    is_default: bool


ITEMS = [Item(f"id{n}", f"item{n}", 1, "What it is for.", 10, n == 0) for n in range(100)]
FOLLOWERS: set[WebSocket] = set()
CREATED = datetime(2026, 1, 1, tzinfo=UTC).isoformat()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with aiosqlite.connect(sys.argv[1], isolation_level=None) as database:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            await database.execute(f"PRAGMA {pragma}")
        await database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
        await database.execute(
            "CREATE TABLE rows (id INTEGER PRIMARY KEY, key TEXT, title TEXT, number INTEGER,"
            " created TEXT)"
        )
        await database.executemany(
            "INSERT INTO rows (key, title, number, created) VALUES (?, ?, ?, ?)",
            [(f"key{n}", f"Row {n}", n, CREATED) for n in range(ROWS)],
        )
        app.state.database = database
        yield


async def insert(request: Request) -> Response:
    """One committed INSERT: the least that keeps anything."""
    body = await request.body()
    await request.app.state.database.execute("INSERT INTO t (body) VALUES (?)", (body.decode(),))
    return JSONResponse({"ok": True})


async def probe(_request: Request) -> Response:
    """What a probe is told, with nothing behind it."""
    component = {"status": "up", "message": None, "latency_ms": None, "last_check": CREATED}
    return JSONResponse(
        {
            "status": "healthy",
            "timestamp": CREATED,
            "uptime_seconds": 1.5,
            "version": "1.0",
            "components": {"api": component},
        }
    )


async def hello(request: Request) -> Response:
    """Reads a JSON body and answers with one."""
    await request.json()
    return JSONResponse({"data": {"__typename": "Query"}})


async def items(request: Request) -> Response:
    """100 objects in memory, 10 fields of each."""
    await request.json()
    found = [
        {
            "id": item.id,
            "name": item.name,
            "version": item.version,
            "description": item.description,
            "maxConcurrent": item.max_concurrent,
            "isDefault": item.is_default,
            "a": item.name,
            "b": item.version,
            "c": item.description,
            "d": item.max_concurrent,
        }
        for item in ITEMS
    ]
    return JSONResponse({"data": {"items": found}})


async def rows(request: Request) -> Response:
    """The first 50 rows of a table, 5 fields of each."""
    await request.json()
    cursor = await request.app.state.database.execute(
        "SELECT id, key, title, number, created FROM rows ORDER BY id LIMIT 50"
    )
    names = ("id", "key", "title", "number", "created")
    found = [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]
    return JSONResponse({"data": {"rows": found}})


async def follow(socket: WebSocket) -> None:
    await socket.accept()
    FOLLOWERS.add(socket)
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        pass
    finally:
        FOLLOWERS.discard(socket)


async def broadcast(request: Request) -> Response:
    """`count` messages, each to all that follow."""
    count = (await request.json())["count"]
    for seq in range(count):
        event = {"seq": seq, "type": "bench.tick", "payload": {"number": seq}, "at": CREATED}
        text = json.dumps({"data": {"event": event}}, separators=(",", ":"))
        for follower in list(FOLLOWERS):
            await follower.send_text(text)
    return JSONResponse({"ok": True})


app = Starlette(
    routes=[
        Route("/insert", insert, methods=["POST"]),
        Route("/probe", probe),
        Route("/hello", hello, methods=["POST"]),
        Route("/items", items, methods=["POST"]),
        Route("/rows", rows, methods=["POST"]),
        Route("/broadcast", broadcast, methods=["POST"]),
        WebSocketRoute("/follow", follow),
    ],
    lifespan=lifespan,
)

if __name__ == "__main__":
    listener = socket.socket(fileno=int(sys.argv[2]))
    config = uvicorn.Config(app, log_level="error", ws="websockets-sansio")
    uvicorn.Server(config).run([listener])
