"""What a plugin author imports."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import structlog

from mission_system.core.settings import Settings
from mission_system.plugins import hookspecs
from mission_system.plugins.hookspecs import PluginContext

HOOKS = {
    name: spec
    for name, spec in inspect.getmembers(hookspecs, inspect.isfunction)
    if name.startswith(("register_", "runtime_"))
}


def test_hookimpl_is_imported_without_the_libraries_of_the_server() -> None:
    code = (
        "from mission_system import hookimpl; import json, sys; print(json.dumps([*sys.modules]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(result.stdout)}
    assert "pluggy" in loaded
    assert loaded & {"strawberry", "tortoise", "starlette", "pydantic", "structlog"} == set()


def test_only_the_hooks_of_a_running_server_are_async() -> None:
    assert set(HOOKS) == {
        "register_tools",
        "register_configs",
        "register_prompts",
        "register_graphql",
        "register_settings",
        "register_services",
        "register_routes",
        "register_event_observers",
        "register_readiness_checks",
        "register_commands",
        "register_orchestrators",
        "register_llm_providers",
        "register_memory_layers",
        "register_alignment_indicators",
        "runtime_started",
        "runtime_stopping",
    }
    asynchronous = {name for name, spec in HOOKS.items() if inspect.iscoroutinefunction(spec)}
    assert asynchronous == {"runtime_started", "runtime_stopping"}


def test_every_hook_says_when_it_is_called_and_what_happens_when_it_raises() -> None:
    for name, spec in HOOKS.items():
        doc = " ".join((inspect.getdoc(spec) or "").split())
        assert "Called once" in doc or "Awaited" in doc, name
        assert "If this raises" in doc, name


def test_a_plugin_s_log_lines_carry_its_name() -> None:
    context = PluginContext("weather", "acme-weather", "1.2.0", Settings())
    with structlog.testing.capture_logs() as lines:
        context.logger.info("stations.read", stations=3)
    assert lines == [
        {"event": "stations.read", "log_level": "info", "plugin": "weather", "stations": 3}
    ]
