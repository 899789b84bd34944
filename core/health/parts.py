"""Readiness of a node's own parts: its schema, its writer, its fan-out, its dispatcher."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from .. import storage
from ..storage.database import Database
from ..storage.persistence import Persistence, Transaction
from ..storage.tables import CATALOG, differing
from .checker import Check
from .result import ComponentHealth, ComponentStatus

if TYPE_CHECKING:
    from ..events.hub import Hub
    from ..tower.control_tower import ControlTower

LAG_SECONDS = 1.0
"""A unit that waits longer than this for its turn makes the writer degraded."""
MIGRATIONS = Path(storage.__path__[0]) / "migrations"


def schema_check(persistence: Persistence) -> Check:
    """Down unless the database has exactly the migrations of this version, and, where it is one of
    ours, the tables that they make."""
    known = {path.stem for path in MIGRATIONS.glob("[0-9]*.py")}

    async def check() -> ComponentHealth:
        rows = await persistence.fetch_all(
            "SELECT name FROM tortoise_migrations WHERE app = ?", ("core",)
        )
        applied = {row["name"] for row in rows}
        if newer := sorted(applied - known):
            return _down(f"a newer version has changed the database: {newer[0]}")
        if missing := sorted(known - applied):
            return _down(f"the database lacks a change of this version: {missing[0]}")
        if isinstance(persistence, Database) and (
            difference := differing(await persistence.fetch_all(CATALOG[persistence.backend]))
        ):
            return _down(f"the database {difference}")
        return ComponentHealth(status=ComponentStatus.UP, message=max(applied))

    return check


def writer_check(persistence: Persistence) -> Check:
    """How long a unit that does nothing takes, behind all that is queued."""

    async def check() -> ComponentHealth:
        began = time.monotonic()
        await persistence.write(_nothing)
        lag = time.monotonic() - began
        if lag > LAG_SECONDS:
            return _degraded(f"a unit waits {lag:.1f} s for its turn")
        return ComponentHealth(status=ComponentStatus.UP)

    return check


def hub_check(hub: Hub) -> Check:
    """Whether a hint that is sent comes back."""

    async def check() -> ComponentHealth:
        await hub.echo()
        return ComponentHealth(status=ComponentStatus.UP)

    return check


def dispatcher_check(tower: ControlTower, max_ready: int) -> Check:
    """Degraded while the line is full; down when a task that the tower relies on is gone."""

    async def check() -> ComponentHealth:
        if lost := tower.upkeep.lost:
            return _down(f"a task has ended that must not: {', '.join(lost)}")
        running, waiting = tower.depth
        if waiting >= max_ready:
            return _degraded(f"the line is full: {waiting} wait, {running} run")
        return ComponentHealth(status=ComponentStatus.UP)

    return check


async def _nothing(tx: Transaction) -> None:
    """Changes nothing, so that committing it costs no disk; the way there is what is measured."""


def _down(message: str) -> ComponentHealth:
    return ComponentHealth(status=ComponentStatus.DOWN, message=message)


def _degraded(message: str) -> ComponentHealth:
    return ComponentHealth(status=ComponentStatus.DEGRADED, message=message)
