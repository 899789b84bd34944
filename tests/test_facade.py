"""What `import mission_system` offers."""

from __future__ import annotations

import ast
import inspect
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
from starlette.applications import Starlette

import mission_system
from mission_system import api

HOMES: dict[str, tuple[str, ...]] = vars(mission_system)["_HOMES"]
HOME_OF = {name: f"mission_system.{module}" for module, names in HOMES.items() for name in names}

API = {
    "mission_system.api": {"MissionRuntime", "create_mission_runtime"},
    "mission_system.api.chat": {
        "MessageSend",
        "MessageSendResponse",
        "SessionCreate",
        "SessionResponse",
    },
    "mission_system.api.governance": {
        *("Case", "IndicatorSpec", "LayerStatus", "Measurement", "MemoryLayerSpec"),
    },
    "mission_system.api.graphql": {
        "Capability",
        "Context",
        "Count",
        "Errors",
        "Info",
        "Long",
        "Message",
        "Process",
        "Session",
        "field",
        "key_of",
        "mutation",
        "page_size",
        "subscription",
    },
    "mission_system.api.health": {
        "ComponentStatus",
        "HealthCheckResult",
        "HealthChecker",
        "HealthSummaryResponse",
        "ToolHealthResponse",
    },
    "mission_system.api.server": {"AppState", "app", "lifespan"},
    "mission_system.api.testing": {"PluginNotServed", "Trial", "trial"},
}


def test_all_names_exactly_what_can_be_imported() -> None:
    assert set(mission_system.__all__) == set(HOME_OF)
    assert dir(mission_system) == sorted(mission_system.__all__)


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(inspect.getsource(mission_system))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: f"mission_system.{statement.module}"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == HOME_OF


@pytest.mark.parametrize("name", sorted(HOME_OF))
def test_each_name_is_the_object_of_its_home(name: str) -> None:
    assert getattr(mission_system, name) is getattr(import_module(HOME_OF[name]), name)


def test_an_unknown_name_is_an_attribute_error_that_says_so() -> None:
    with pytest.raises(AttributeError, match="'mission_system' has no attribute 'Missionn'"):
        mission_system.Missionn  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ImportError, match="Missionn"):
        exec("from mission_system import Missionn")


def test_the_version_is_the_distribution_s() -> None:
    assert mission_system.__version__ == version("mission-system")


@pytest.mark.parametrize("module", sorted(API))
def test_api_modules_offer_their_documented_names(module: str) -> None:
    loaded = import_module(module)
    assert set(loaded.__all__) == API[module]
    for name in API[module]:
        assert getattr(loaded, name) is not None


def test_the_runtime_is_one_class_wherever_it_is_imported_from() -> None:
    assert api.MissionRuntime is mission_system.MissionRuntime


def test_api_server_makes_its_app_on_first_use_and_once() -> None:
    sys.modules.pop("mission_system.api.server", None)
    server = import_module("mission_system.api.server")
    assert "app" not in vars(server)
    app = server.app
    assert isinstance(app, Starlette)
    assert server.app is app
    assert not Path("mission-data").exists(), "making an app must not start anything"
    with pytest.raises(AttributeError, match=r"api\.server' has no attribute"):
        server.application  # noqa: B018
