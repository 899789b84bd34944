"""Readiness checks of plugins: what they do wrong degrades the server, and never stops it."""

from __future__ import annotations

import structlog

from ..core.deadline import Bounded
from ..core.errors import MissionError
from ..core.health.checker import Check
from ..core.health.result import ComponentHealth, ComponentStatus, mended

CHECK_SECONDS = 3.0
"""Less than the server gives each component, which is then down."""

log = structlog.get_logger(__name__)


def lenient(component: str, check: Check) -> Check:
    """The check, degraded where it raises, takes too long or gives something else: that says that
    the check is broken, not that the server cannot work. `DOWN` is for the check itself to say."""
    bounded = Bounded(check)

    async def checked() -> ComponentHealth:
        try:
            found = await bounded.within(CHECK_SECONDS)
        except TimeoutError:
            return _degraded(f"no answer within {CHECK_SECONDS:g} s")
        except MissionError as error:
            return _degraded(error.message)
        except Exception:
            log.warning("plugin.check_failed", component=component, exc_info=True)
            return _degraded("the check failed; the server's log says why")
        return mended(found, ComponentStatus.DEGRADED)

    return checked


def _degraded(message: str) -> ComponentHealth:
    return ComponentHealth(status=ComponentStatus.DEGRADED, message=message)
