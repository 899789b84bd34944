"""The seven layers of memory: where each lies, what is in it, and how it is doing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import UnionType
from typing import Literal

import structlog

from ..clock import maybe_datetime
from ..deadline import Bounded
from ..errors import MissionError
from ..storage.database import Database
from ..storage.persistence import Persistence
from ..tools.calls import MINUTE

LayerId = Literal["L1", "L2", "L3", "L4", "L5", "L6", "L7"]
LayerState = Literal["active", "available", "failed"]
"""`available`: nothing that is installed keeps it. `failed`: its keeper does not answer."""

FOREIGN: tuple[LayerId, ...] = ("L3", "L5", "L6")
"""Layers that plugins bring."""
NAMES: dict[LayerId, tuple[str, str]] = {
    "L1": ("canonical", "sessions and messages"),
    "L2": ("events", "one log for each session"),
    "L3": ("semantic", "what is found by meaning"),
    "L4": ("working", "what capabilities keep of a session"),
    "L5": ("graph", "entities, and how they relate"),
    "L6": ("skills", "what has worked before"),
    "L7": ("meta", "how the tools are doing"),
}
CHECK_SECONDS = 2.0
COUNTED = 20_000
"""Rows that are counted one by one; of more the number is estimated."""
SLICES = 64
WIDTH = 256
"""How many pieces of a table are looked at for an estimate, and how many ids are in each."""

MOST_ROWS = 2**53 - 1  # what JSON can say exactly

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStatus:
    """What a layer says of itself. `rows` None: it does not count; `is_estimate`: it is about so
    many. `message` is shown to anybody: no path, SQL or secret."""

    rows: int | None = None
    is_estimate: bool = False
    last_write: datetime | None = None
    message: str | None = None
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class _Table:
    """What a layer of the server's own has in one table. `which` says what of it; each of `newest`
    reads, by an index, when something of one kind happened to it last."""

    name: str
    newest: tuple[str, ...]
    which: str = "1 = 1"


def _created(table: str) -> str:
    """When the row with the highest id was made."""
    return f"SELECT * FROM (SELECT created_at AS at FROM {table} ORDER BY id DESC LIMIT 1) c"  # noqa: S608


def _last(table: str, column: str, which: str = "1 = 1") -> str:
    return f"SELECT MAX({column}) AS at FROM {table} WHERE {column} IS NOT NULL AND {which}"  # noqa: S608


def _all(queries: Sequence[str]) -> str:
    return " UNION ALL ".join(queries)


_MINUTES = f"span = {MINUTE}"
OWN: dict[LayerId, tuple[_Table, ...]] = {
    "L1": (
        _Table(
            "session",
            (_created("session"), _last("session", "deleted_at")),
        ),
        _Table(
            "message",
            (_created("message"), _last("message", "edited_at"), _last("message", "deleted_at")),
        ),
    ),
    "L2": (_Table("event", (_created("event"),)),),
    "L4": (_Table("working_state", (_last("working_state", "updated_at"),)),),
    "L7": (
        # Hours and days say the same once more.
        _Table(
            "tool_window",
            (
                f"SELECT MAX(last_at) AS at FROM tool_window WHERE {_MINUTES} AND start ="  # noqa: S608
                f" (SELECT MAX(start) FROM tool_window WHERE {_MINUTES})",
            ),
            _MINUTES,
        ),
        _Table("tool_call", (_last("tool_call", "started_at"),)),
    ),
}

_FORMS: dict[str, type | UnionType] = {
    "rows": int | None,
    "is_estimate": bool,
    "last_write": datetime | None,
    "message": str | None,
    "healthy": bool,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLayerSpec:
    """A layer that somebody keeps. `backend` names where it lies, such as `postgresql`; `check`
    may raise and may take long: it is bounded.

    Raises:
        ValueError: `layer` is none, or one that is the server's own.
    """

    layer: LayerId
    backend: str
    check: Callable[[], Awaitable[LayerStatus]]

    def __post_init__(self) -> None:
        if self.layer not in FOREIGN:
            choices = ", ".join(FOREIGN)
            raise ValueError(f"layer '{self.layer}' is not one that plugins bring: {choices}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLayer:
    """One layer as it is. `enable` says how to get one that is only available."""

    id: LayerId
    name: str
    description: str
    state: LayerState
    backend: str | None = None
    rows: int | None = None
    is_estimate: bool = False
    last_write: datetime | None = None
    healthy: bool = False
    message: str | None = None
    enable: str | None = None


class MemoryLayers:
    """All seven, in order: the server's own in its database, the rest as plugins bring them."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence
        self._backend = (
            persistence.backend if isinstance(persistence, Database) else type(persistence).__name__
        )
        self._specs: dict[LayerId, MemoryLayerSpec] = {}
        # Made once, for each remembers a call of its own that goes on after it was given up.
        self._checks = {id: Bounded(self._own(tables)) for id, tables in OWN.items()}

    def register(self, spec: MemoryLayerSpec) -> None:
        """Raises ValueError where the layer is taken."""
        if spec.layer in self._specs:
            raise ValueError(
                f"memory layer {spec.layer} is kept by '{self._specs[spec.layer].backend}' already"
            )
        self._specs[spec.layer] = spec
        self._checks[spec.layer] = Bounded(spec.check)

    async def status(self) -> list[MemoryLayer]:
        """Asks all of them at once; never raises."""
        checks: list[Awaitable[MemoryLayer]] = []
        for id, (name, description) in NAMES.items():
            layer = MemoryLayer(id=id, name=name, description=description, state="active")
            if id in OWN:
                checks.append(_checked(replace(layer, backend=self._backend), self._checks[id]))
            elif (spec := self._specs.get(id)) is not None:
                checks.append(_checked(replace(layer, backend=spec.backend), self._checks[id]))
            else:
                checks.append(_missing(layer))
        return await asyncio.gather(*checks)

    def _own(self, tables: Sequence[_Table]) -> Callable[[], Awaitable[LayerStatus]]:
        async def check() -> LayerStatus:
            counted = [await self._count(table) for table in tables]
            newest = _all([sql for table in tables for sql in table.newest])
            row = await self._persistence.fetch_one(f"SELECT MAX(at) FROM ({newest}) n")  # noqa: S608
            return LayerStatus(
                rows=sum(rows for rows, _ in counted),
                is_estimate=any(is_estimate for _, is_estimate in counted),
                last_write=maybe_datetime(row[0]) if row is not None else None,
            )

        return check

    async def _count(self, table: _Table) -> tuple[int, bool]:
        """The number of rows, and whether that is an estimate."""
        row = await self._persistence.fetch_one(
            f"SELECT COUNT(*) FROM (SELECT 1 FROM {table.name} WHERE {table.which}"  # noqa: S608
            f" LIMIT {COUNTED + 1}) c"
        )
        rows = int(row[0]) if row is not None else 0
        return (rows, False) if rows <= COUNTED else (await self._estimate(table), True)

    async def _estimate(self, table: _Table) -> int:
        """By pieces of the table at equal distances: ids have gaps, many of them or few."""
        ends = await self._persistence.fetch_one(  # each by itself: SQLite scans for both
            f"SELECT (SELECT MIN(id) FROM {table.name}), (SELECT MAX(id) FROM {table.name})"  # noqa: S608
        )
        if ends is None or ends[0] is None:
            return 0
        first, ids = ends[0], ends[1] - ends[0] + 1
        width = min(WIDTH, -(-ids // SLICES))
        starts = [first + (ids - width) * number // max(1, SLICES - 1) for number in range(SLICES)]
        piece = (  # by itself, for of one condition with all of them a planner makes a scan
            f"SELECT SUM(CASE WHEN {table.which} THEN 1 ELSE 0 END) FROM {table.name}"  # noqa: S608
            f" WHERE id >= column1 AND id < column1 + {width}"
        )
        values = ", ".join(["(CAST(? AS BIGINT))"] * SLICES)
        row = await self._persistence.fetch_one(
            f"SELECT CAST(COALESCE(SUM(({piece})), 0) AS BIGINT) FROM (VALUES {values}) p",  # noqa: S608
            starts,
        )
        return round(int(row[0]) * ids / (width * SLICES)) if row is not None else 0


async def _checked(layer: MemoryLayer, check: Bounded[LayerStatus]) -> MemoryLayer:
    try:
        status = await check.within(CHECK_SECONDS)
        mistake = _mistake(status)
    except TimeoutError:
        return replace(layer, state="failed", message=f"no answer within {CHECK_SECONDS:g} s")
    except MissionError as error:
        return replace(layer, state="failed", message=error.message)
    except Exception:
        log.warning("memory.layer_failed", layer=layer.id, exc_info=True)
        return replace(layer, state="failed", message="it failed; the server's log says why")
    if mistake is not None:
        return replace(layer, state="failed", message=f"its check is broken: {mistake}")
    return replace(
        layer,
        rows=status.rows,
        is_estimate=status.is_estimate,
        last_write=status.last_write,
        healthy=status.healthy,
        message=status.message,
    )


def _mistake(status: object) -> str | None:
    """What is wrong with what a check has returned, which nothing but its author's care ensures."""
    if not isinstance(status, LayerStatus):
        return f"it returned {type(status).__name__}, expected LayerStatus"
    for name, form in _FORMS.items():
        value: object = getattr(status, name)
        if not isinstance(value, form):
            return f"{name} is {type(value).__name__}, expected {form}"
    if status.rows is not None and not 0 <= status.rows <= MOST_ROWS:
        return f"rows is not between 0 and {MOST_ROWS}"
    return None


async def _missing(layer: MemoryLayer) -> MemoryLayer:
    enable = f"install a plugin whose register_memory_layers() brings {layer.id}"
    return replace(layer, state="available", enable=enable)
