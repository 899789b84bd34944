import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mission_system.core import deadline
from mission_system.core.errors import Unavailable
from mission_system.core.health import checker as subject
from mission_system.core.health.checker import HealthChecker
from mission_system.core.health.result import ComponentHealth, ComponentStatus

Check = Callable[[], Awaitable[ComponentHealth]]


def says(status: ComponentStatus) -> Check:
    async def check() -> ComponentHealth:
        return ComponentHealth(status=status)

    return check


def fails(error: Exception) -> Check:
    async def check() -> ComponentHealth:
        raise error

    return check


async def hangs() -> ComponentHealth:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


UP, DOWN, DEGRADED = (says(ComponentStatus(status)) for status in ("up", "down", "degraded"))


@pytest.mark.parametrize(
    ("checks", "overall"),
    [
        ({"a": UP, "b": UP}, "healthy"),
        ({"a": UP, "b": DEGRADED}, "degraded"),
        ({"a": DEGRADED, "b": DOWN}, "unhealthy"),
        ({}, "healthy"),
    ],
)
async def test_the_worst_component_decides_the_overall_status(
    checks: dict[str, Check], overall: str
) -> None:
    result = await HealthChecker("1.0", checks).check_readiness()
    assert result.status == overall


async def test_readiness_has_the_wire_form_of_the_contract() -> None:
    body = (await HealthChecker("1.2.3", {"database": UP}).check_readiness()).model_dump(
        mode="json"
    )
    assert set(body) == {"status", "timestamp", "uptime_seconds", "version", "components"}
    assert body["version"] == "1.2.3"
    assert body["uptime_seconds"] >= 0
    assert body["timestamp"].endswith(("Z", "+00:00"))
    database = body["components"]["database"]
    assert set(database) == {"status", "message", "latency_ms", "last_check"}
    assert database["status"] == "up"
    assert database["message"] is None
    assert database["latency_ms"] >= 0
    assert database["last_check"].endswith(("Z", "+00:00"))


async def test_liveness_runs_no_check() -> None:
    ran: list[str] = []

    async def check() -> ComponentHealth:
        ran.append("database")
        raise AssertionError("liveness touches no dependency")

    result = await HealthChecker("1.0", {"database": check}).check_liveness()
    assert ran == []
    assert result.status == "healthy"
    assert {name: part.status for name, part in result.components.items()} == {"api": "up"}


async def test_a_check_that_hangs_is_down_and_holds_up_no_other() -> None:
    checker = HealthChecker("1.0", {"slow": hangs, "slower": hangs, "quick": UP}, timeout=0.05)
    async with asyncio.timeout(2):
        result = await checker.check_readiness()
    assert result.components["slow"].status == "down"
    assert result.components["slow"].message == "no answer within 0.05 s"
    assert result.components["quick"].status == "up"


async def test_a_check_that_ignores_its_cancellation_is_down_and_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadline, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(subject, "FRESH_SECONDS", 0.0)

    async def stubborn() -> ComponentHealth:
        try:
            return await hangs()
        except asyncio.CancelledError:
            return await hangs()

    checker = HealthChecker("1.0", {"stubborn": stubborn, "quick": UP}, timeout=0.05)
    async with asyncio.timeout(30):
        for _ in range(2):
            result = await checker.check_readiness()
            assert result.components["stubborn"].message == "no answer within 0.05 s"
            assert result.components["quick"].status == "up"


async def test_a_check_that_returns_something_else_is_down() -> None:
    async def nothing() -> None: ...

    checks: Any = {"a": nothing, "b": lambda: None}
    async with asyncio.timeout(30):
        result = await HealthChecker("1.0", checks).check_readiness()
    assert [each.status for each in result.components.values()] == ["down", "down"]
    message = "the check returned NoneType, expected ComponentHealth"
    assert result.components["a"].message == message


async def test_checks_run_at_the_same_time() -> None:
    meeting = asyncio.Barrier(2)

    async def meets() -> ComponentHealth:
        await meeting.wait()
        return ComponentHealth(status=ComponentStatus.UP)

    result = await HealthChecker("1.0", {"a": meets, "b": meets}, timeout=2).check_readiness()
    assert result.status == "healthy"


async def test_a_check_that_raises_is_down_and_shows_nothing_of_the_inside() -> None:
    checks = {"database": fails(RuntimeError("no such table: session in /srv/data/x.sqlite3"))}
    component = (await HealthChecker("1.0", checks).check_readiness()).components["database"]
    assert component.status == "down"
    assert component.message == "the check failed; the server's log says why"


async def test_an_error_made_for_clients_is_shown() -> None:
    checks = {"database": fails(Unavailable("the database is closed"))}
    component = (await HealthChecker("1.0", checks).check_readiness()).components["database"]
    assert (component.status, component.message) == ("down", "the database is closed")


class Counted:
    """A check that is counted, and that waits while it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> ComponentHealth:
        self.runs += 1
        await self.go.wait()
        return ComponentHealth(status=ComponentStatus.UP)


async def test_what_was_found_counts_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    check = Counted()
    checker = HealthChecker("1.0", {"a": check})
    results = [await checker.check_readiness() for _ in range(50)]
    assert check.runs <= results[-1].uptime_seconds + 1
    monkeypatch.setattr(subject, "FRESH_SECONDS", 0.0)
    checker = HealthChecker("1.0", {"a": check})
    check.runs = 0
    for _ in range(3):
        await checker.check_readiness()
    assert check.runs == 3


async def test_probes_at_the_same_time_share_one_round() -> None:
    check = Counted()
    check.go.clear()
    checker = HealthChecker("1.0", {"a": check})
    probes = [asyncio.create_task(checker.check_readiness()) for _ in range(100)]
    await asyncio.sleep(0)
    probes[0].cancel()  # its client has gone away
    check.go.set()
    results = await asyncio.gather(*probes, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert {getattr(result, "status", None) for result in results[1:]} == {"healthy"}
    assert check.runs == 1


async def test_a_check_may_have_a_timeout_of_its_own_and_a_name_of_its_own() -> None:
    checker = HealthChecker("1.0", {"a": UP}, timeout=60)
    checker.register("b", hangs, timeout=0.01)
    result = await checker.check_readiness()
    assert result.components["b"].message == "no answer within 0.01 s"
    with pytest.raises(ValueError, match="'b' is registered already"):
        checker.register("b", UP)


async def test_a_checker_that_is_closed_tells_those_who_wait() -> None:
    checker = HealthChecker("1.0", {"a": hangs}, timeout=60)
    probe = asyncio.create_task(checker.check_readiness())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await checker.close()
    assert (await probe).status == "unhealthy"
