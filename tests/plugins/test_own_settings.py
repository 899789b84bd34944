"""`register_settings`: a plugin's settings come from its own variables, or it does not load."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from mission_system.core.settings import Settings
from mission_system.plugins.hookspecs import PluginContext, hookimpl
from mission_system.plugins.loader import load_plugins
from mission_system.plugins.report import PluginReport, PluginStatus


class WeatherSettings(BaseSettings):
    key: SecretStr = Field(max_length=8)
    stations: list[str] = []
    depth: int = 3


def load(kind: Any, name: str = "acme-weather") -> tuple[PluginReport, list[PluginContext]]:
    contexts: list[PluginContext] = []

    @hookimpl
    def register_settings(context: PluginContext) -> Any:
        return kind

    @hookimpl
    def register_configs(context: PluginContext) -> dict[str, object]:
        contexts.append(context)
        return {}

    plugin = SimpleNamespace(
        __name__=name, register_settings=register_settings, register_configs=register_configs
    )
    host = load_plugins(Settings(), [plugin], entry_points=False)
    [report] = host.reports
    return report, contexts


def test_they_come_from_the_plugin_s_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_ACME_WEATHER_KEY", "hunter2")
    monkeypatch.setenv("MISSION_ACME_WEATHER_STATIONS", '["north"]')
    monkeypatch.setenv("KEY", "not this one")
    report, [context] = load(WeatherSettings)
    assert report.status is PluginStatus.LOADED
    own = context.own(WeatherSettings)
    assert (own.key.get_secret_value(), own.stations, own.depth) == ("hunter2", ["north"], 3)
    assert "hunter2" not in repr(context)


def test_they_are_read_from_the_file_of_the_server_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(
        "MISSION_ACME_WEATHER_KEY=abc\nMISSION_ACME_WEATHER_MAPS_KEY=of another plugin\n"
    )
    _, [context] = load(WeatherSettings)
    assert context.own(WeatherSettings).key.get_secret_value() == "abc"


def test_what_does_not_validate_is_named_by_variable_without_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MISSION_ACME_WEATHER_KEY", "hunter2-hunter2")
    monkeypatch.setenv("MISSION_ACME_WEATHER_DEPTH", "deep")
    report, contexts = load(WeatherSettings)
    assert (report.status, contexts) == (PluginStatus.FAILED, [])
    assert report.reason is not None
    assert report.reason.startswith("its settings do not validate: MISSION_ACME_WEATHER_KEY: ")
    assert "MISSION_ACME_WEATHER_DEPTH: Input should be a valid integer" in report.reason
    assert "hunter2" not in str(report)
    assert report.fix == "Set them in the environment or in .env."


def test_a_missing_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    report, _ = load(WeatherSettings)
    assert report.reason == (
        "its settings do not validate: MISSION_ACME_WEATHER_KEY: Field required."
    )


def test_what_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_ACME_WEATHER_KEY", "abc")
    monkeypatch.setenv("MISSION_ACME_WEATHER_STATIONS", "north,south")
    report, _ = load(WeatherSettings)
    assert report.reason == (
        "its settings do not validate: MISSION_ACME_WEATHER_STATIONS: is not the JSON that it"
        " takes."
    )


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        (SimpleNamespace(), "weather", "returned SimpleNamespace, expected a class of pydantic-"),
        (Settings().quota, "weather", "returned Quota, expected a class of pydantic-settings"),
        (dict, "weather", "returned dict, expected a class of pydantic-settings"),
        (
            WeatherSettings,
            "max",
            "has the field 'depth', whose variable MISSION_MAX_DEPTH is one of the server's own",
        ),
    ],
)
def test_what_is_no_class_of_settings_of_its_own_is_refused(
    kind: Any, name: str, reason: str
) -> None:
    report, _ = load(kind, name)
    assert report.status is PluginStatus.FAILED
    assert report.reason is not None
    assert report.reason.startswith(f"register_settings() {reason}")
    assert report.fix


def test_asking_for_another_class_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_ACME_WEATHER_KEY", "abc")
    _, [context] = load(WeatherSettings)
    with pytest.raises(TypeError, match="'acme-weather' are WeatherSettings, not Settings"):
        context.own(Settings)
