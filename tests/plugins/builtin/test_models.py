from __future__ import annotations

import sys
from typing import Any

import pytest
from structlog.testing import capture_logs

from mission_system.core.llm.credentials import REQUIRED
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.plugins.builtin import models
from mission_system.plugins.loader import load_plugins


async def warnings_at_the_start(**settings: Any) -> list[tuple[str, str]]:
    given = Settings(**settings)
    host = load_plugins(given, [models], entry_points=False)
    assert set(host.llm_providers) == set(REQUIRED)
    with capture_logs() as events:
        await host.started(create_mission_runtime(ToolCatalog(), settings=given))
    assert [report.status for report in host.reports] == ["loaded"]
    return [(e["provider"], e["fix"]) for e in events if e["event"] == "llm.extra_missing"]


async def test_start_tells_of_libraries_that_are_used_and_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fallbacks = [{"provider": "llamacpp"}, {"provider": "openai"}]
    used = {"llm_provider": "azure", "llm_roles": {"default": {"fallbacks": fallbacks}}}
    assert await warnings_at_the_start(**used) == []

    for library in ("xllamacpp", "anthropic"):
        monkeypatch.setitem(sys.modules, library, None)
    needed = ("llamacpp", "pip install 'mission-system[llamacpp]'")
    assert await warnings_at_the_start(**used) == [needed]
    assert await warnings_at_the_start() == []
