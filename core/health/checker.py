"""Is this server alive, and can it do its work? The answers that probes get."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from ..deadline import Bounded
from ..errors import MissionError
from ..llm.factory import LLMFactory
from ..llm.roles import DEFAULT_ROLE, providers_in_use
from ..trouble import Trouble
from ..version import __version__
from .database import Database, database_check
from .models import models_check
from .result import ComponentHealth, ComponentStatus, HealthCheckResult, OverallStatus, mended

if TYPE_CHECKING:
    from ..runtime import MissionRuntime

Check = Callable[[], Awaitable[ComponentHealth]]
"""Looks at one component. May raise and may take long: the checker bounds it."""

FRESH_SECONDS = 1.0

log = structlog.get_logger(__name__)


class HealthChecker:
    """Answers liveness and readiness probes. Neither method raises.

    `timeout` bounds each check that says nothing else, in seconds; checks run at the same time,
    for all who ask meanwhile together, and what they find counts for `FRESH_SECONDS`.
    """

    def __init__(self, version: str, checks: Mapping[str, Check], timeout: float = 5.0) -> None:
        self._version = version
        self._checks = {name: Bounded(check) for name, check in checks.items()}
        self._troubles = defaultdict[str, Trouble](
            lambda: Trouble(log, "health.check_failed", "health.check_works_again")
        )
        self._timeout = timeout
        self._timeouts: dict[str, float] = {}
        self._started = time.monotonic()
        self._checking: asyncio.Task[HealthCheckResult] | None = None
        self._checked: HealthCheckResult | None = None
        self._fresh_until = 0.0

    def register(self, name: str, check: Check, *, timeout: float | None = None) -> None:
        """Look at another component too, for at most `timeout` seconds.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._checks:
            raise ValueError(f"readiness check '{name}' is registered already")
        self._checks[name] = Bounded(check)
        if timeout is not None:
            self._timeouts[name] = timeout
        self._fresh_until = 0.0

    async def check_liveness(self) -> HealthCheckResult:
        """Whether the server answers at all. Touches no dependency, so it is always healthy."""
        api = ComponentHealth(status=ComponentStatus.UP, last_check=datetime.now(UTC))
        return self._result({"api": api})

    async def check_readiness(self) -> HealthCheckResult:
        """Whether the server can do its work: what every check found within the last second."""
        if self._checked is not None and time.monotonic() < self._fresh_until:
            return self._checked
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check_all(), name="readiness")
        checking = self._checking
        try:
            # Who goes away takes the answer from nobody else.
            return await asyncio.shield(checking)
        except asyncio.CancelledError:
            if not checking.cancelled():
                raise
            return self._result({"checker": _down("the server is stopping")})

    async def close(self) -> None:
        """End a round of checks that is under way."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)

    async def _check_all(self) -> HealthCheckResult:
        names = list(self._checks)
        found = await asyncio.gather(*(self._run(name) for name in names))
        self._checked = self._result(dict(zip(names, found, strict=True)))
        self._fresh_until = time.monotonic() + FRESH_SECONDS
        return self._checked

    async def _run(self, name: str) -> ComponentHealth:
        began = time.monotonic()
        timeout = self._timeouts.get(name, self._timeout)
        try:
            health = mended(await self._checks[name].within(timeout), ComponentStatus.DOWN)
            self._troubles[name].passed()
        except TimeoutError:
            health = _down(f"no answer within {timeout:g} s")
        except MissionError as error:
            health = _down(error.message)
        except Exception as error:
            self._troubles[name].met(error, component=name)
            health = _down("the check failed; the server's log says why")
        taken = round((time.monotonic() - began) * 1000, 3)
        return health.model_copy(update={"latency_ms": taken, "last_check": datetime.now(UTC)})

    def _result(self, components: dict[str, ComponentHealth]) -> HealthCheckResult:
        return HealthCheckResult(
            status=OverallStatus.of(components.values()),
            timestamp=datetime.now(UTC),
            uptime_seconds=time.monotonic() - self._started,
            version=self._version,
            components=components,
        )


def make_checker(
    runtime: MissionRuntime, database: Database, checks: Mapping[str, Check]
) -> HealthChecker:
    """The checker of one server: its database, its source of LLM replies, and `checks`."""

    def served(provider: str) -> bool:
        factory = runtime.llm_provider_factory
        # A factory that a caller brought may make anything.
        return provider in factory if isinstance(factory, LLMFactory) else factory is not None

    return HealthChecker(
        __version__,
        {
            "database": database_check(database),
            "models": models_check(_uses(runtime), served),
            **checks,
        },
    )


def _uses(runtime: MissionRuntime) -> Mapping[str, Sequence[str]]:
    if runtime.mock_provider is not None:
        return {DEFAULT_ROLE: (runtime.provider_name,)}
    return providers_in_use(runtime.settings)


def _down(message: str) -> ComponentHealth:
    return ComponentHealth(status=ComponentStatus.DOWN, message=message)
