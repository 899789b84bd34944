"""Event observers hear of everything in order, and harm nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec
from mission_system.core.events.event import Event
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tower.process import Envelope
from mission_system.plugins import observers as observers_module
from mission_system.plugins.hookspecs import hookimpl
from mission_system.plugins.host import PluginHost
from mission_system.plugins.loader import load_plugins
from mission_system.plugins.observers import observing


async def answer(mission: Any) -> str:
    return f"re: {mission.message}"


def host_of(*observers: Any) -> PluginHost:
    @hookimpl
    def register_event_observers() -> list[Any]:
        return list(observers)

    @hookimpl
    def register_orchestrators() -> list[OrchestratorSpec]:
        return [OrchestratorSpec("echo", answer)]

    plugin = SimpleNamespace(
        __name__="audit",
        register_event_observers=register_event_observers,
        register_orchestrators=register_orchestrators,
    )
    return load_plugins(Settings(), [plugin], entry_points=False)


async def send(node: Node, message: str) -> None:
    request = Envelope(caller=Caller("ann"), message=message)
    await node.tower.submit_request(request, wait=30)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def node_of(folder: Path, host: PluginHost) -> Node:
    settings = Settings(data=folder, shutdown_seconds=0)
    runtime = create_mission_runtime(host.tools, settings=settings, use_mock=True)
    return Node(runtime, CapabilityRegistry(host.orchestrators))


def ended(events: list[Event]) -> bool:
    return any(event.type == "process.completed" for event in events)


async def test_an_observer_hears_the_story_of_a_process_in_order(tmp_path: Path) -> None:
    heard: list[Event] = []

    async def observe(event: Event) -> None:
        heard.append(event)

    host = host_of(observe)
    async with node_of(tmp_path, host) as node, observing(host, node.feed):
        await asyncio.sleep(0)
        await send(node, "tea")
        await until(lambda: ended(heard))
    assert [event.seq for event in heard] == list(range(1, len(heard) + 1))
    assert {event.user_id for event in heard} == {"ann"}
    types = [event.type for event in heard]
    assert types.index("process.created") < types.index("process.completed")


async def test_one_that_raises_hears_of_the_next_and_the_log_says_so_ever_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []

    async def fails(event: Event) -> None:
        heard.append(event)
        raise SystemExit(3) if len(heard) == 1 else ValueError("no such column")

    monkeypatch.setattr(observers_module, "log", structlog.get_logger())
    host = host_of(fails)
    with structlog.testing.capture_logs() as lines:
        async with node_of(tmp_path, host) as node, observing(host, node.feed):
            await asyncio.sleep(0)
            await send(node, "tea")
            await until(lambda: ended(heard))
    told = [line for line in lines if line["event"] == "plugin.observer_failed"]
    assert {(line["plugin"], line["observer"]) for line in told} == {("audit", "fails")}
    counted = [line["failures"] for line in told]
    assert counted == [n for n in (1, 2, 4, 8, 16) if n <= len(heard)]


async def test_one_that_hangs_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers_module, "OBSERVE_SECONDS", 3600)
    heard: list[Event] = []
    hung: list[Event] = []

    async def hangs(event: Event) -> None:
        hung.append(event)
        await asyncio.Event().wait()

    async def observe(event: Event) -> None:
        heard.append(event)

    host = host_of(hangs, observe)
    async with node_of(tmp_path, host) as node, observing(host, node.feed):
        await asyncio.sleep(0)
        await send(node, "tea")
        await send(node, "coffee")
        await until(lambda: sum(event.type == "process.completed" for event in heard) == 2)
        await until(lambda: bool(hung))
    assert len(hung) == 1


async def test_one_that_takes_too_long_is_cut_off_and_goes_on_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers_module, "OBSERVE_SECONDS", 0.01)
    heard: list[Event] = []

    async def hangs(event: Event) -> None:
        heard.append(event)
        await asyncio.Event().wait()

    host = host_of(hangs)
    async with node_of(tmp_path, host) as node, observing(host, node.feed):
        await asyncio.sleep(0)
        await send(node, "tea")
        await until(lambda: ended(heard))
