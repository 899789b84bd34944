"""One table of types: what is told is in it, what is in it is told, and the docs say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mission_system.core
from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.events.event import NewEvent
from mission_system.core.events.types import NAMESPACES, TYPES, UnknownEventType, check_type
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import InterruptStatus

ROOT = Path(__file__).parents[3]
FIRST = "\n".join(
    path.read_text()
    for path in Path(mission_system.core.__path__[0]).rglob("*.py")
    if path.name not in ("types.py", "bridge.py")
)


def test_documentation_has_the_table_as_it_is() -> None:
    page = (ROOT / "docs" / "events.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)` \| ((?:`[a-z_?]+` ?)+) \| (.+) \|$", page, re.MULTILINE)
    documented = [
        (name, tuple(re.findall(r"`([^`]+)`", fields)), when) for name, fields, when in rows
    ]
    assert documented == [(type.name, type.payload, type.when) for type in TYPES.values()]


@pytest.mark.parametrize("name", TYPES)
def test_type_of_the_table_is_told_somewhere(name: str) -> None:
    if name.startswith("interrupt.") and name != "interrupt.raised":
        assert 'NewEvent(f"interrupt.{status}"' in FIRST
        assert name.partition(".")[2] in set(InterruptStatus)
    else:
        assert re.search(rf'NewEvent\(\s*"{re.escape(name)}"', FIRST)


def test_type_that_is_told_somewhere_is_in_the_table() -> None:
    assert set(re.findall(r'NewEvent\(\s*"([^"]+)"', FIRST)) <= set(TYPES)


@pytest.mark.parametrize("name", ["process.vanished", "chat.message", "tick", ".x", "x.", ""])
def test_type_that_nobody_knows_cannot_be_told(name: str) -> None:
    with pytest.raises(UnknownEventType):
        NewEvent(name, {})


def test_capability_tells_types_of_its_own() -> None:
    check_type("docs.indexed")
    check_type("docs.index.built")


@pytest.mark.parametrize("name", sorted(NAMESPACES))
def test_capability_cannot_take_the_name_of_the_servers_events(name: str) -> None:
    async def nothing(mission: Mission) -> str:
        return mission.message

    with pytest.raises(ValueError, match="would pass for the server's own"):
        OrchestratorSpec(name, nothing)
