"""Readiness checks of plugins: asked with the server's own, and never what stops it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from mission_system.core.deadline import GRACE_SECONDS
from mission_system.core.errors import Unavailable
from mission_system.core.health.checker import HealthChecker
from mission_system.core.health.result import ComponentHealth, ComponentStatus
from mission_system.core.settings import Settings
from mission_system.plugins import readiness as subject
from mission_system.plugins.hookspecs import hookimpl
from mission_system.plugins.loader import load_plugins


async def down() -> ComponentHealth:
    return ComponentHealth(status=ComponentStatus.DOWN, message="no index")


async def broken() -> ComponentHealth:
    raise OSError("/var/secret")


async def unavailable() -> ComponentHealth:
    raise Unavailable("the index is being built")


async def hanging() -> ComponentHealth:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def mistaken() -> bool:
    return True


@pytest.mark.parametrize(
    ("check", "status", "message"),
    [
        (down, ComponentStatus.DOWN, "no index"),
        (broken, ComponentStatus.DEGRADED, "the check failed; the server's log says why"),
        (unavailable, ComponentStatus.DEGRADED, "the index is being built"),
        (hanging, ComponentStatus.DEGRADED, "no answer within 0.05 s"),
        (mistaken, ComponentStatus.DEGRADED, "the check returned bool, expected ComponentHealth"),
    ],
)
async def test_what_a_check_says_counts_and_what_it_does_wrong_degrades(
    monkeypatch: pytest.MonkeyPatch, check: Any, status: ComponentStatus, message: str
) -> None:
    monkeypatch.setattr(subject, "CHECK_SECONDS", 0.05)

    @hookimpl
    def register_readiness_checks() -> Mapping[str, Any]:
        return {"index": check}

    plugin = SimpleNamespace(__name__="docs", register_readiness_checks=register_readiness_checks)
    host = load_plugins(Settings(), [plugin], entry_points=False)
    async with asyncio.timeout(30):
        result = await HealthChecker("1.0", host.readiness_checks).check_readiness()
    health = result.components["docs.index"]
    assert (health.status, health.message) == (status, message)


def test_a_check_that_hangs_is_given_up_before_the_server_calls_it_down() -> None:
    own = inspect.signature(HealthChecker).parameters["timeout"].default
    assert own > subject.CHECK_SECONDS + GRACE_SECONDS
