"""Readiness checks of plugins: what they do wrong degrades the server, and never stops it."""

from __future__ import annotations

import structlog

from ..core.errors import MissionError
from ..core.health.checker import Check
from ..core.health.result import ComponentHealth, ComponentStatus

log = structlog.get_logger(__name__)


def lenient(component: str, check: Check) -> Check:
    """The check, degraded where it raises or gives something else: that says that the check is
    broken, not that the server cannot work. `DOWN` is for the check itself to say."""

    async def checked() -> ComponentHealth:
        try:
            health: object = await check()
        except MissionError as error:
            return _degraded(error.message)
        except Exception:
            log.warning("plugin.check_failed", component=component, exc_info=True)
            return _degraded("the check failed; the server's log says why")
        if isinstance(health, ComponentHealth):
            return health
        return _degraded(f"the check returned {type(health).__name__}, expected ComponentHealth")

    return checked


def _degraded(message: str) -> ComponentHealth:
    return ComponentHealth(status=ComponentStatus.DEGRADED, message=message)
