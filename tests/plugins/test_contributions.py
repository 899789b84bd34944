"""What hooks return is checked item by item, before anything of the plugin is served."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, Field

from mission_system.core.alignment.indicator import IndicatorSpec
from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.memory.layers import MemoryLayerSpec
from mission_system.core.prompts import Prompt
from mission_system.core.settings import Settings
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.process import Quota
from mission_system.plugins import host as host_module
from mission_system.plugins.hookspecs import PluginContext, hookimpl
from mission_system.plugins.implementations import SIGNATURES
from mission_system.plugins.loader import load_plugins
from mission_system.plugins.report import PluginReport, PluginStatus


@tool
def search(query: str) -> list[str]:
    """Find passages."""
    return [query]


async def answer(mission: object) -> str:
    return str(mission)


def load(**hooks: object) -> PluginReport:
    """The report on a plugin with these hooks; unless it loaded, nothing of it may be served."""
    plugin = SimpleNamespace(__name__="weather", **hooks)
    host = load_plugins(Settings(), [plugin], entry_points=False)
    [report] = host.reports
    if report.status is not PluginStatus.LOADED:
        assert report.fix
        assert (len(host.tools), [*host.configs], host.orchestrators, host.llm_providers) == (
            0,
            [],
            (),
            {},
        )
    return report


def returning(hook: str, value: object) -> dict[str, object]:
    """A plugin's hook of that name, and a config that must vanish with it."""

    def function(context: PluginContext) -> object:
        return value

    @hookimpl(specname="register_configs")
    def configs() -> dict[str, int]:
        return {"weather": 1}

    return {"hook": hookimpl(function, specname=hook), "configs": configs}


async def nothing(*_: object) -> Any:
    raise AssertionError("nobody looks")


def layer(id: Any) -> MemoryLayerSpec:
    return MemoryLayerSpec(layer=id, backend="vectors", check=nothing)


def indicator(name: str) -> IndicatorSpec:
    return IndicatorSpec(
        name=name, title="Tidy", definition="Of all.", threshold=1.0, measure=nothing
    )


async def no_mission() -> str:
    return "nobody asked"


WRONG: list[tuple[str, object, str]] = [
    ("register_tools", "search", "register_tools() returned str, expected ToolSpec."),
    ("register_tools", None, "register_tools() returned NoneType, expected ToolSpec."),
    ("register_tools", search, "register_tools() returned ToolSpec, expected ToolSpec."),
    ("register_tools", {"search": search}, "register_tools() returned dict, expected ToolSpec."),
    (
        "register_tools",
        [search.function],
        "register_tools() returned a list that holds function, expected ToolSpec.",
    ),
    ("register_tools", [search, search], "register_tools() offers 'search' twice."),
    (
        "register_orchestrators",
        [answer],
        "register_orchestrators() returned a list that holds function, expected OrchestratorSpec.",
    ),
    (
        "register_orchestrators",
        [OrchestratorSpec("docs", answer), OrchestratorSpec("docs", answer)],
        "register_orchestrators() offers 'docs version 1' twice.",
    ),
    (
        "register_orchestrators",
        [OrchestratorSpec("my docs", answer)],
        "register_orchestrators() offers something named 'my docs'.",
    ),
    (
        "register_orchestrators",
        [OrchestratorSpec("docs", "answer")],  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        "register_orchestrators() offers 'docs' with function 'answer'.",
    ),
    (
        "register_orchestrators",
        [OrchestratorSpec("docs", str)],  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        "register_orchestrators() offers 'docs' with function <class 'str'>.",
    ),
    (
        "register_orchestrators",
        [OrchestratorSpec("docs", no_mission)],  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        f"register_orchestrators() offers 'docs' with function {no_mission!r}.",
    ),
    (
        "register_orchestrators",
        [OrchestratorSpec("docs", answer, description=5)],  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        "register_orchestrators() offers 'docs' with description 5.",
    ),
    (
        "register_orchestrators",
        [OrchestratorSpec("docs", answer, quota="much")],  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        "register_orchestrators() offers 'docs' with quota 'much'.",
    ),
    (
        "register_orchestrators",
        [OrchestratorSpec("docs", answer, version=0)],
        "register_orchestrators() offers 'docs' with version 0.",
    ),
    (
        "register_orchestrators",
        [OrchestratorSpec("docs", answer, max_concurrent=0)],
        "register_orchestrators() offers 'docs' with max_concurrent 0.",
    ),
    ("register_configs", [1], "register_configs() returned list, expected a mapping by name."),
    ("register_configs", {1: 2}, "register_configs() offers something named 1."),
    ("register_configs", {"weather": 2}, "register_configs() offers 'weather' twice."),
    (
        "register_prompts",
        ["Write of $topic."],
        "register_prompts() returned a list that holds str, expected Prompt.",
    ),
    (
        "register_prompts",
        [Prompt("my writer", "Write.")],
        "register_prompts() offers something named 'my writer'.",
    ),
    (
        "register_prompts",
        [Prompt("writer", "Write."), Prompt("writer", "Write on.")],
        "register_prompts() offers 'writer version 1' twice.",
    ),
    (
        "register_graphql",
        {"Session": {"citations": 1}},
        "register_graphql() returned dict for 'Session', expected a class of Strawberry.",
    ),
    (
        "register_graphql",
        {"Session": Quota},
        "register_graphql() returned Quota for 'Session', expected a class of Strawberry.",
    ),
    ("register_services", [1], "register_services() returned list, expected a mapping by name."),
    (
        "register_routes",
        [answer],
        "register_routes() returned a list that holds function, expected BaseRoute.",
    ),
    (
        "register_event_observers",
        ["observe"],
        "register_event_observers() returned a list that holds str, expected a function.",
    ),
    (
        "register_event_observers",
        [no_mission],
        "register_event_observers() offers 'no_mission', which is no async function of an event.",
    ),
    (
        "register_event_observers",
        [answer, answer],
        "register_event_observers() offers 'answer' twice.",
    ),
    (
        "register_readiness_checks",
        {"index": answer},
        "register_readiness_checks() returned function for 'index', expected an async function"
        " without arguments.",
    ),
    (
        "register_readiness_checks",
        {"index": lambda: True},
        "register_readiness_checks() returned function for 'index', expected an async function"
        " without arguments.",
    ),
    (
        "register_commands",
        {"search": answer},
        "register_commands() returned dict, expected a function.",
    ),
    (
        "register_commands",
        [print, "search"],
        "register_commands() returned a list that holds str, expected a function.",
    ),
    ("register_commands", [print, print], "register_commands() offers 'print' twice."),
    (
        "register_llm_providers",
        {"acme": "https://acme.example"},
        "register_llm_providers() returned str for 'acme', expected a function that takes the "
        "settings.",
    ),
    (
        "register_llm_providers",
        {"mock": print},
        "register_llm_providers() offers 'mock', which is the server's own.",
    ),
    (
        "register_memory_layers",
        {"L3": "vectors"},
        "register_memory_layers() returned dict, expected MemoryLayerSpec.",
    ),
    (
        "register_memory_layers",
        [layer("L3"), layer("L3")],
        "register_memory_layers() offers 'L3' twice.",
    ),
    (
        "register_alignment_indicators",
        [indicator("tidy house")],
        "register_alignment_indicators() offers something named 'tidy house'.",
    ),
    (
        "register_alignment_indicators",
        [indicator("observability")],
        "register_alignment_indicators() offers 'observability', which is the server's own.",
    ),
]


@pytest.mark.parametrize(("hook", "value", "reason"), WRONG)
def test_a_wrong_return_value_is_named_and_nothing_is_served(
    hook: str, value: object, reason: str
) -> None:
    report = load(**returning(hook, value))
    assert (report.status, report.reason) == (PluginStatus.FAILED, reason)


@pytest.mark.parametrize("hook", sorted(n for n in SIGNATURES if n.startswith("register_")))
def test_a_hook_that_raises_fails_its_own_plugin_only(hook: str) -> None:
    def function(context: PluginContext) -> object:
        raise OSError("disk full")

    def plugin(name: str, **hooks: object) -> SimpleNamespace:
        @hookimpl(specname="register_configs")
        def configs() -> dict[str, int]:
            return {name: 1}

        return SimpleNamespace(__name__=name, configs=configs, **hooks)

    broken = plugin("broken", hook=hookimpl(function, specname=hook))
    host = load_plugins(Settings(), [broken, plugin("other")], entry_points=False)
    assert [report.status for report in host.reports] == [PluginStatus.FAILED, PluginStatus.LOADED]
    assert (host.reports[0].reason or "").startswith(f"{hook}() raised OSError: disk full (")
    assert host.reports[0].fix == "Correct the hook, upgrade the plugin, or disable it."
    assert [*host.configs] == ["other"]


def test_a_plugin_whose_name_cannot_stand_in_a_path_has_no_routes() -> None:
    from starlette.routing import Route

    @hookimpl
    def register_routes() -> list[object]:
        return [Route("/who", print)]

    plugin = SimpleNamespace(__name__="my docs", register_routes=register_routes)
    [report] = load_plugins(Settings(), [plugin], entry_points=False).reports
    assert report.reason is not None
    assert "the plugin's name 'my docs' cannot stand in a path" in report.reason


def test_a_plugin_called_as_a_command_of_the_server_has_no_commands() -> None:
    @hookimpl
    def register_commands() -> list[object]:
        return [print]

    plugin = SimpleNamespace(__name__="serve", register_commands=register_commands)
    [report] = load_plugins(Settings(), [plugin], entry_points=False).reports
    assert report.reason is not None
    assert "`mission serve` is one of the server's own" in report.reason


def test_a_plain_function_among_the_tools_is_told_of_the_decorator() -> None:
    report = load(**returning("register_tools", [search.function]))
    assert report.fix == "Decorate the function with @tool."


def test_a_hook_may_be_a_generator() -> None:
    @hookimpl
    def register_tools(context: PluginContext) -> Iterator[object]:
        yield search

    assert load(register_tools=register_tools).tools == ("search",)


def test_a_generator_that_raises_half_way_is_the_plugin_s_failure() -> None:
    @hookimpl
    def register_tools(context: PluginContext) -> Iterator[object]:
        yield search
        raise OSError("disk full")

    report = load(register_tools=register_tools)
    assert report.reason is not None
    assert report.reason.startswith("register_tools() raised OSError: disk full (test_contr")


def test_a_hook_may_leave_out_the_context() -> None:
    @hookimpl
    def register_tools() -> list[object]:
        return [search]

    assert load(register_tools=register_tools).tools == ("search",)


def test_each_plugin_gets_a_context_of_its_own() -> None:
    seen: list[PluginContext] = []

    def plugin(name: str) -> SimpleNamespace:
        @hookimpl
        def register_tools(context: PluginContext) -> list[object]:
            seen.append(context)
            return []

        return SimpleNamespace(__name__=name, register_tools=register_tools)

    settings = Settings()
    load_plugins(settings, [plugin("one"), plugin("two")], entry_points=False)
    assert [context.name for context in seen] == ["one", "two"]
    assert all(context.settings is settings for context in seen)


def test_a_config_that_does_not_validate_is_explained_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class WeatherConfig(BaseModel):
        api_key: str = Field(max_length=4)

    @hookimpl
    def register_configs() -> dict[str, object]:
        return {"weather": WeatherConfig(api_key="hunter2-hunter2")}

    monkeypatch.setattr(host_module, "log", structlog.get_logger())
    with structlog.testing.capture_logs() as lines:
        report = load(register_configs=register_configs)
    assert report.reason is not None
    assert "ValidationError: api_key: String should have at most 4 characters" in report.reason
    assert "hunter2" not in str(report)
    [line] = lines
    assert (line["event"], line["plugin"]) == ("plugin.failed", "weather")
    assert line["exc_info"] is None


def test_the_log_has_the_traceback_that_the_report_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = RuntimeError("boom")

    @hookimpl
    def register_tools() -> list[object]:
        raise error

    monkeypatch.setattr(host_module, "log", structlog.get_logger())
    with structlog.testing.capture_logs() as lines:
        load(register_tools=register_tools)
    assert [line["exc_info"] for line in lines] == [error]


def test_a_long_error_is_cut_short() -> None:
    @hookimpl
    def register_tools() -> list[object]:
        raise ValueError("very " * 10_000)

    report = load(register_tools=register_tools)
    assert report.reason is not None
    assert len(report.reason) < 400
