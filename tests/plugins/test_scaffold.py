"""`mission new`: names that work everywhere, and nothing is overwritten."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mission_system.core.errors import Conflict, InvalidInput
from mission_system.core.events.types import NAMESPACES
from mission_system.plugins.contributions import COMMANDS_OF_SERVER
from mission_system.plugins.scaffold import write_capability

Install = Callable[..., str]


def test_every_file_is_written_with_the_names_in_place(tmp_path: Path) -> None:
    target = write_capability("acme-docs", tmp_path)
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {
        "README.md",
        "pyproject.toml",
        "src/acme_docs/__init__.py",
        "src/acme_docs/py.typed",
        "tests/test_answer.py",
    }
    for path in target.rglob("*"):
        assert not path.is_file() or "$" not in path.read_text("utf-8"), path


@pytest.mark.parametrize(
    "name",
    [
        *("", "Acme", "acme_docs", "1acme", "-acme", "acme-", "../acme", "a/b", "ä", "class"),
        *("json", "mission-system", "x" * 51),
    ],
)
def test_a_name_that_cannot_be_used_everywhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "projects").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidInput) as error:
        write_capability(name, tmp_path / "projects")
    assert error.value.field == "name"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        *((name, f"events are called {name}.*") for name in ("process", "chat", "tool", "state")),
        *((name, f"the plugin '{name}' of mission-system") for name in ("assistant", "models")),
        ("serve", "the command `mission serve`"),
        ("test-answer", "a file of the project"),
        *((name, "an installed package") for name in ("pydantic", "python-dotenv")),
    ],
)
def test_a_name_that_would_not_load_here_is_refused_with_who_has_it(
    tmp_path: Path, name: str, owner: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(owner)) as error:
        write_capability(name, tmp_path)
    assert f"such as acme-{name}" in error.value.message
    assert not (tmp_path / name).exists()


def test_every_event_of_the_server_and_every_command_is_closed_to_a_capability(
    tmp_path: Path,
) -> None:
    for name in NAMESPACES | COMMANDS_OF_SERVER:
        with pytest.raises(InvalidInput):
            write_capability(name, tmp_path)


def test_the_name_of_another_plugin_is_refused_but_not_that_of_the_project_itself(
    tmp_path: Path, install: Install
) -> None:
    install("acme-stars", "")
    install("moons", "")
    with pytest.raises(InvalidInput, match="the plugin 'stars' of acme-stars"):
        write_capability("stars", tmp_path)
    assert write_capability("moons", tmp_path).is_dir()


@pytest.mark.parametrize("name", ["trial", "tests"])
def test_a_project_with_a_confusing_name_passes_its_tests(tmp_path: Path, name: str) -> None:
    target = write_capability(name, tmp_path)
    run = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=target, check=False)
    assert run.returncode == 0


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_capability("acme-docs", tmp_path)
    (tmp_path / "acme-docs" / "README.md").write_text("mine")
    with pytest.raises(Conflict, match="exists already"):
        write_capability("acme-docs", tmp_path)
    assert (tmp_path / "acme-docs" / "README.md").read_text() == "mine"
