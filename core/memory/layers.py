"""The seven layers of memory: where each lies, what is in it, and how it is doing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from types import UnionType
from typing import Literal

import structlog

from ..clock import maybe_datetime
from ..deadline import Bounded
from ..errors import MissionError
from ..storage.persistence import Persistence
from ..tools.calls import HOUR

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
COUNTED = 100_000
"""Rows that are counted one by one; of more the number is estimated."""

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

    def __init__(self, persistence: Persistence, backend: str) -> None:
        self._persistence = persistence
        self._backend = backend
        self._specs: dict[LayerId, MemoryLayerSpec] = {}
        self._checks: dict[LayerId, Bounded[LayerStatus]] = {}

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
        own = {
            "L1": self._own("message", "SELECT created_at FROM message ORDER BY id DESC LIMIT 1"),
            "L2": self._own("event", "SELECT created_at FROM event ORDER BY id DESC LIMIT 1"),
            "L4": self._own(
                "working_state",
                "SELECT MAX(updated_at) FROM (SELECT updated_at FROM working_state"  # noqa: S608
                f" ORDER BY id DESC LIMIT {COUNTED}) w",
            ),
            "L7": self._own(
                "tool_window",
                f"SELECT MAX(last_at) FROM tool_window WHERE span = {HOUR} AND start >="  # noqa: S608
                f" (SELECT MAX(start) FROM tool_window WHERE span = {HOUR})",
            ),
        }
        checks: list[Awaitable[MemoryLayer]] = []
        for id, (name, description) in NAMES.items():
            layer = MemoryLayer(id=id, name=name, description=description, state="active")
            if id in own:
                checks.append(_checked(replace(layer, backend=self._backend), Bounded(own[id])))
            elif (spec := self._specs.get(id)) is not None:
                checks.append(_checked(replace(layer, backend=spec.backend), self._checks[id]))
            else:
                checks.append(_missing(layer))
        return await asyncio.gather(*checks)

    def _own(self, table: str, newest: str) -> Callable[[], Awaitable[LayerStatus]]:
        """`table` and `newest` are SQL of ours. Reads no more than `COUNTED` rows."""

        async def check() -> LayerStatus:
            counted = await self._persistence.fetch_one(
                f"SELECT COUNT(*) FROM (SELECT 1 FROM {table} LIMIT {COUNTED}) c"  # noqa: S608
            )
            rows = int(counted[0]) if counted is not None else 0
            is_estimate = rows >= COUNTED
            if is_estimate:
                span = await self._persistence.fetch_one(
                    f"SELECT (SELECT MAX(id) FROM {table}) - (SELECT MIN(id) FROM {table}) + 1"  # noqa: S608
                )
                rows = int(span[0]) if span is not None and span[0] is not None else rows
            row = await self._persistence.fetch_one(newest)
            at = maybe_datetime(row[0]) if row is not None else None
            return LayerStatus(rows=rows, is_estimate=is_estimate, last_write=at)

        return check


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
