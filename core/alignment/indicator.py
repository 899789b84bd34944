"""Constitutional alignment: promises of the server, each measured by what really happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import structlog

from ..deadline import Bounded
from ..errors import MissionError
from ..identity import Caller
from ..storage.persistence import Persistence

MEASURE_SECONDS = 5.0
FRESH_SECONDS = 15.0
MAX_CASES = 20
IndicatorState = Literal["met", "missed", "unknown", "failed"]
"""`unknown`: nothing has happened yet that it could be measured by. `failed`: it could not be
measured."""

OWN_INDICATORS = (
    *("evidence_chain", "bounded_retry", "deterministic_spine", "observability"),
    "human_oversight",
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that broke the promise: a sentence, and the process that it is about."""

    text: str
    pid: str | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """`good` of `total` kept the promise; `cases` are some that did not, the newest first."""

    total: int
    good: int
    cases: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorSpec:
    """What is measured, and from which share on (0 to 1) the promise is kept.

    `definition` is a sentence that says of what the share is, and how far back is looked.
    `measure` reads, and reads a bounded number of rows; it may raise and take long: it is bounded.

    Raises:
        ValueError: a threshold that is no share.
    """

    name: str
    title: str
    definition: str
    threshold: float
    measure: Callable[[Persistence], Awaitable[Measurement]]

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"indicator '{self.name}': threshold {self.threshold!r} is not 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """One indicator as it is. `value` is `good / total`, None where `total` is 0."""

    name: str
    title: str
    definition: str
    threshold: float
    state: IndicatorState
    value: float | None = None
    total: int = 0
    good: int = 0
    cases: tuple[Case, ...] = ()
    message: str | None = None
    measured_at: datetime


class AlignmentService:
    """Measures all indicators together, at most once in `FRESH_SECONDS`."""

    def __init__(self, persistence: Persistence, specs: Iterable[IndicatorSpec]) -> None:
        self._persistence = persistence
        self._specs: dict[str, IndicatorSpec] = {}
        self._measures: dict[str, Bounded[Measurement]] = {}
        self._measuring = asyncio.Lock()
        self._measured: list[Indicator] = []
        self._fresh_until = 0.0
        for spec in specs:
            self.register(spec)

    def register(self, spec: IndicatorSpec) -> None:
        """Raises ValueError where the name is taken."""
        if spec.name in self._specs:
            raise ValueError(f"alignment indicator '{spec.name}' is registered already")
        self._specs[spec.name] = spec
        self._measures[spec.name] = Bounded(lambda: spec.measure(self._persistence))
        self._fresh_until = 0.0

    async def report(self, caller: Caller | None = None) -> list[Indicator]:
        """Every indicator, in the order of registration; never raises.

        Processes are named to administrators only: they may be anybody's.
        """
        measured = await self._report()
        if caller is not None and caller.is_admin:
            return measured
        return [
            replace(each, cases=tuple(Case(case.text) for case in each.cases)) for each in measured
        ]

    async def _report(self) -> list[Indicator]:
        async with self._measuring:
            if time.monotonic() >= self._fresh_until:
                self._measured = await asyncio.gather(
                    *(self._measure(spec) for spec in self._specs.values())
                )
                self._fresh_until = time.monotonic() + FRESH_SECONDS
            return list(self._measured)

    def forget(self) -> None:
        """Measure anew when asked next."""
        self._fresh_until = 0.0

    async def _measure(self, spec: IndicatorSpec) -> Indicator:
        try:
            return _judged(spec, await self._measures[spec.name].within(MEASURE_SECONDS))
        except TimeoutError:
            return _failed(spec, f"not measured within {MEASURE_SECONDS:g} s")
        except MissionError as error:
            return _failed(spec, error.message)
        except Exception:
            log.warning("alignment.not_measured", indicator=spec.name, exc_info=True)
            return _failed(spec, "it could not be measured; the server's log says why")


def _judged(spec: IndicatorSpec, found: Measurement) -> Indicator:
    value = found.good / found.total if found.total else None
    state: IndicatorState = "unknown"
    if value is not None:
        state = "met" if value >= spec.threshold else "missed"
    return Indicator(
        name=spec.name,
        title=spec.title,
        definition=spec.definition,
        threshold=spec.threshold,
        state=state,
        value=value,
        total=found.total,
        good=found.good,
        cases=tuple(found.cases[:MAX_CASES]),
        measured_at=datetime.now(UTC),
    )


def _failed(spec: IndicatorSpec, message: str) -> Indicator:
    return Indicator(
        name=spec.name,
        title=spec.title,
        definition=spec.definition,
        threshold=spec.threshold,
        state="failed",
        message=message,
        measured_at=datetime.now(UTC),
    )


async def before_newest(persistence: Persistence, table: str, rows: int) -> int:
    """The id after which the newest `rows` rows of a table come, or fewer where some are gone.

    It is read by itself and given to statements as a value: of one that it is computed in, a
    planner expects a third of the table, and PostgreSQL starts workers that take longer than it.
    """
    row = await persistence.fetch_one(f"SELECT MAX(id) FROM {table}")  # noqa: S608
    return (row[0] or 0) - rows if row is not None else 0
