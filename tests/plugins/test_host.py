"""Plugins start and stop with the server; none of them stops it, or another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mission_system.core.errors import Unavailable
from mission_system.core.runtime import MissionRuntime
from mission_system.core.settings import Settings
from mission_system.plugins import host as host_module
from mission_system.plugins.faults import PluginFault
from mission_system.plugins.hookspecs import PluginContext, hookimpl
from mission_system.plugins.host import PluginHost
from mission_system.plugins.loader import load_plugins
from mission_system.plugins.report import PluginStatus

Act = Callable[[], Awaitable[object]]

RUNTIME = cast(MissionRuntime, SimpleNamespace())


async def nothing() -> None: ...


class Lives:
    """Plugins that write down when they start and stop."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def plugin(self, name: str, *, start: Act = nothing, stop: Act = nothing) -> object:
        @hookimpl
        async def runtime_started(context: PluginContext, runtime: MissionRuntime) -> None:
            assert runtime is RUNTIME
            self.told.append(f"+{context.name}")
            await start()

        @hookimpl
        async def runtime_stopping(context: PluginContext) -> None:
            self.told.append(f"-{context.name}")
            await stop()

        @hookimpl
        def register_configs() -> dict[str, object]:
            return {name: None}

        hooks: dict[str, Any] = {
            "runtime_started": runtime_started,
            "runtime_stopping": runtime_stopping,
            "register_configs": register_configs,
        }
        return SimpleNamespace(__name__=name, **hooks)


@pytest.fixture
def lives() -> Lives:
    return Lives()


def load(*plugins: object) -> PluginHost:
    return load_plugins(Settings(), plugins, entry_points=False)


async def forever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise ConnectionError("no route to station")


async def leave() -> None:
    raise SystemExit(3)


async def await_a_cancelled_task() -> None:
    task = asyncio.create_task(forever())
    task.cancel()
    await task


async def test_plugins_start_in_load_order_and_stop_in_reverse(lives: Lives) -> None:
    host = load(lives.plugin("one"), lives.plugin("two"), lives.plugin("three"))
    await host.started(RUNTIME)
    await host.stopping(RUNTIME)
    assert lives.told == ["+one", "+two", "+three", "-three", "-two", "-one"]


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (fail, "runtime_started() raised ConnectionError: no route to station (test_host.py, "),
        (leave, "runtime_started() raised SystemExit: 3 (test_host.py, "),
        (await_a_cancelled_task, "runtime_started() raised CancelledError"),
    ],
)
async def test_a_plugin_that_fails_to_start_is_reported_and_the_others_start(
    lives: Lives, start: Act, reason: str
) -> None:
    host = load(lives.plugin("one"), lives.plugin("bad", start=start), lives.plugin("two"))
    await host.started(RUNTIME)
    one, bad, two = host.reports
    assert (one.status, bad.status, two.status) == ("loaded", "failed", "loaded")
    assert bad.reason is not None
    assert bad.reason.startswith(reason)
    assert bad.fix is not None
    assert bad.fix.startswith("What the plugin registered stays served.")
    assert bad.configs == ("bad",)
    await host.stopping(RUNTIME)
    assert lives.told == ["+one", "+bad", "+two", "-two", "-one"]


async def test_a_plugin_that_hangs_while_starting_is_cancelled(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "HOOK_SECONDS", 0.01)
    ended = asyncio.Event()

    async def hang() -> None:
        try:
            await forever()
        finally:
            ended.set()

    host = load(lives.plugin("slow", start=hang), lives.plugin("two"))
    await host.started(RUNTIME)
    slow, two = host.reports
    assert ended.is_set()
    assert slow.status is PluginStatus.FAILED
    assert slow.reason == "runtime_started() took longer than 0.01 seconds and was cancelled."
    assert two.status is PluginStatus.LOADED


@pytest.mark.parametrize("stop", [fail, leave, await_a_cancelled_task])
async def test_a_plugin_that_fails_to_stop_does_not_keep_others_from_stopping(
    lives: Lives, stop: Act
) -> None:
    host = load(lives.plugin("one"), lives.plugin("bad", stop=stop))
    await host.started(RUNTIME)
    await host.stopping(RUNTIME)
    assert lives.told == ["+one", "+bad", "-bad", "-one"]


async def test_a_server_told_to_stop_does_not_take_it_for_a_plugin_s_failure(lives: Lives) -> None:
    reached = asyncio.Event()

    async def hang() -> None:
        reached.set()
        await forever()

    host = load(lives.plugin("one"), lives.plugin("slow", start=hang), lives.plugin("two"))
    starting = asyncio.create_task(host.started(RUNTIME))
    await reached.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert {report.status for report in host.reports} == {PluginStatus.LOADED}
    await host.stopping(RUNTIME)
    assert lives.told == ["+one", "+slow", "-one"]


async def test_even_a_server_stopped_by_cancellation_stops_every_plugin(lives: Lives) -> None:
    host = load(lives.plugin("one"), lives.plugin("bad", stop=await_a_cancelled_task))

    serving = asyncio.Event()

    async def serve() -> None:
        await host.started(RUNTIME)
        serving.set()
        try:
            await forever()
        finally:
            await host.stopping(RUNTIME)

    server = asyncio.create_task(serve())
    await serving.wait()
    server.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server
    assert lives.told == ["+one", "+bad", "-bad", "-one"]


async def test_what_never_started_is_not_stopped(lives: Lives) -> None:
    host = load(lives.plugin("one"))
    await host.stopping(RUNTIME)
    assert lives.told == []


def with_services(plugin: Any, services: dict[str, object]) -> object:
    @hookimpl
    def register_services() -> dict[str, object]:
        return services

    plugin.register_services = register_services
    return plugin


async def test_services_are_open_while_the_hooks_of_their_plugin_run(lives: Lives) -> None:
    @asynccontextmanager
    async def service(name: str) -> AsyncIterator[str]:
        lives.told.append(f"({name}")
        yield name
        lives.told.append(f"{name})")

    one = with_services(lives.plugin("one"), {"a": service("a"), "b": service("b")})
    host = load(one, lives.plugin("two"))
    await host.started(RUNTIME)
    assert host.services.get("a") == "a"
    await host.stopping(RUNTIME)
    assert lives.told == ["(a", "(b", "+one", "+two", "-two", "-one", "b)", "a)"]


async def test_a_service_that_cannot_be_opened_fails_its_plugin_and_no_other(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "HOOK_SECONDS", 0.01)

    @asynccontextmanager
    async def service(open_it: Act) -> AsyncIterator[None]:
        await open_it()
        yield

    one = with_services(lives.plugin("one"), {"a": service(nothing), "b": service(fail)})
    two = with_services(lives.plugin("two"), {"c": service(forever)})
    host = load(one, two, lives.plugin("three"))
    await host.started(RUNTIME)
    told = {report.name: report for report in host.reports}
    assert (told["one"].reason or "").startswith("opening the service 'b' raised ConnectionError")
    assert (told["two"].reason or "").startswith("opening the service 'c' took longer than")
    assert told["three"].status is PluginStatus.LOADED
    host.services.get("a")
    with pytest.raises(Unavailable):
        host.services.get("b")
    await host.stopping(RUNTIME)
    assert lives.told == ["+three", "-three"]
    with pytest.raises(Unavailable):
        host.services.get("a")


async def test_a_service_that_cannot_be_closed_does_not_keep_others_open(lives: Lives) -> None:
    @asynccontextmanager
    async def service(close_it: Act) -> AsyncIterator[None]:
        yield
        await close_it()

    one = with_services(lives.plugin("one"), {"a": service(nothing), "b": service(fail)})
    host = load(one)
    await host.started(RUNTIME)
    await host.stopping(RUNTIME)
    for name in ("a", "b"):
        with pytest.raises(Unavailable):
            host.services.get(name)


async def test_a_plugin_that_fails_twice_is_reported_with_both_reasons(lives: Lives) -> None:
    host = load(lives.plugin("one", start=fail))
    host.fail(host.loaded[0], PluginFault("Its fields clash.", "Rename them."))
    await host.started(RUNTIME)
    [report] = host.reports
    assert (report.reason or "").startswith("Its fields clash. runtime_started() raised Conn")
    assert (report.fix or "").startswith("Rename them. What the plugin registered stays served.")
