"""The plugin, as the server's loader sees it."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import mission_code_analysis
import pytest

from mission_system import Settings
from mission_system.plugins.host import PluginHost
from mission_system.plugins.loader import load_plugins

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def load(tmp_path: Path) -> PluginHost:
    settings = Settings(data=tmp_path / "data")
    return load_plugins(settings, [mission_code_analysis], entry_points=False)


def test_the_entry_point_of_the_distribution_names_the_plugin() -> None:
    project = tomllib.loads(PROJECT.read_text())["project"]
    [(name, value)] = project["entry-points"]["mission_system"].items()
    assert name == "code-analysis"
    assert EntryPoint(name, value, "mission_system").load() is mission_code_analysis


def test_it_brings_its_tools_its_config_and_its_capability(tmp_path: Path) -> None:
    host = load(tmp_path)
    risks = {spec.name: spec.risk for spec in host.tools}
    assert risks == {
        "list_files": "read_only",
        "search_code": "read_only",
        "read_file": "read_only",
        "find_symbol": "read_only",
        "git_log": "read_only",
        "write_report": "write",
    }
    assert [spec.name for spec in host.orchestrators] == ["code-analysis"]
    assert host.configs.get("code-analysis").root == Path(".")


def test_every_number_that_a_caller_gives_is_bounded(tmp_path: Path) -> None:
    for spec in load(tmp_path).tools:
        for name, schema in spec.parameters["properties"].items():
            if schema["type"] == "integer":
                assert {"minimum", "maximum"} <= set(schema), (spec.name, name)


@pytest.mark.parametrize("root", ["missing", "a-file"])
def test_a_root_that_is_no_folder_fails_the_plugin_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("MISSION_CODE_ANALYSIS_ROOT", str(tmp_path / root))
    [report] = load(tmp_path).reports
    assert report.status == "failed"
    assert report.reason is not None
    assert "MISSION_CODE_ANALYSIS_ROOT" in report.reason
    assert f"'{tmp_path / root}' is not a folder" in report.reason
    assert "set it to the folder" in report.reason


def test_a_setting_that_does_not_validate_fails_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISSION_CODE_ANALYSIS_MAX_LINES", "-1")
    [report] = load(tmp_path).reports
    assert report.status == "failed"
    assert report.reason is not None
    assert "max_lines" in report.reason
