"""A hook that could never be called as meant is told of before any hook is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from mission_system.core.settings import Settings
from mission_system.plugins.hookspecs import PluginContext, hookimpl
from mission_system.plugins.loader import load_plugins
from mission_system.plugins.report import PluginReport, PluginStatus


def load(**hooks: object) -> PluginReport:
    """The report on a plugin with these hooks."""
    plugin = SimpleNamespace(__name__="weather", **hooks)
    [report] = load_plugins(Settings(), [plugin], entry_points=False).reports
    return report


def function_named(name: str, *, asynchronous: bool = False) -> Callable[..., Any]:
    async def later(context: PluginContext) -> None: ...
    def now(context: PluginContext) -> None: ...

    function: Callable[..., Any] = later if asynchronous else now
    function.__name__ = name
    return function


def test_an_unknown_parameter_is_named_with_those_there_are() -> None:
    @hookimpl
    def register_tools(ctx: PluginContext) -> list[object]:
        return []

    report = load(register_tools=register_tools)
    assert report.status is PluginStatus.FAILED
    assert report.reason is not None
    assert "register_tools(ctx" in report.reason
    assert "'ctx'" in report.reason
    assert report.fix is not None
    assert "register_tools(context)" in report.fix
    assert "runtime_started(context, runtime)" in report.fix


def test_a_hook_without_its_mark_is_not_passed_over() -> None:
    @hookimpl
    def register_tools() -> list[object]:
        return []

    report = load(
        register_tools=register_tools, register_configs=function_named("register_configs")
    )
    assert (
        report.reason == "register_configs() is not marked as a hook, so it would never be called."
    )


def test_a_plugin_without_hooks_is_not_passed_over() -> None:
    assert load().reason == "it implements no hook."


def test_a_declaring_hook_cannot_be_async() -> None:
    hook = hookimpl(function_named("register_tools", asynchronous=True))
    assert load(register_tools=hook).reason == "register_tools() is an async function."


def test_a_hook_of_the_running_server_must_be_async() -> None:
    hook = hookimpl(function_named("runtime_started"))
    report = load(runtime_started=hook)
    assert report.reason == "runtime_started() is not an async function."
    assert report.fix == "Write `async def runtime_started(context, runtime)`."


def test_a_plugin_does_not_wrap_the_hooks_of_others() -> None:
    @hookimpl(wrapper=True)
    def register_tools(context: PluginContext) -> Iterator[None]:
        return (yield)

    report = load(register_tools=register_tools)
    assert report.reason == (
        "register_tools() is a hook wrapper; plugins do not wrap one another here."
    )


def test_a_plugin_that_cannot_be_inspected_is_reported() -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> object:
            if name == "mission_api":
                raise RuntimeError("look away")
            return super().__getattribute__(name)

    host = load_plugins(Settings(), [Hostile()], entry_points=False)
    [report] = host.reports
    assert report.name == "Hostile"
    assert report.reason is not None
    assert report.reason.startswith("inspecting it raised RuntimeError: look away")
