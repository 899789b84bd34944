"""Readiness checks of plugins: asked with the server's own, and never what stops it."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from mission_system.core.errors import Unavailable
from mission_system.core.health.result import ComponentHealth, ComponentStatus
from mission_system.core.settings import Settings
from mission_system.plugins.hookspecs import hookimpl
from mission_system.plugins.loader import load_plugins


async def down() -> ComponentHealth:
    return ComponentHealth(status=ComponentStatus.DOWN, message="no index")


async def broken() -> ComponentHealth:
    raise OSError("/var/secret")


async def unavailable() -> ComponentHealth:
    raise Unavailable("the index is being built")


async def mistaken() -> bool:
    return True


@pytest.mark.parametrize(
    ("check", "status", "message"),
    [
        (down, ComponentStatus.DOWN, "no index"),
        (broken, ComponentStatus.DEGRADED, "the check failed; the server's log says why"),
        (unavailable, ComponentStatus.DEGRADED, "the index is being built"),
        (mistaken, ComponentStatus.DEGRADED, "the check returned bool, expected ComponentHealth"),
    ],
)
async def test_what_a_check_says_counts_and_what_it_does_wrong_degrades(
    check: Any, status: ComponentStatus, message: str
) -> None:
    @hookimpl
    def register_readiness_checks() -> Mapping[str, Any]:
        return {"index": check}

    plugin = SimpleNamespace(__name__="docs", register_readiness_checks=register_readiness_checks)
    host = load_plugins(Settings(), [plugin], entry_points=False)
    health = await host.readiness_checks["docs.index"]()
    assert (health.status, health.message) == (status, message)
