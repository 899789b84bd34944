"""`mission new`: names that work everywhere, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from mission_system.core.errors import Conflict, InvalidInput
from mission_system.plugins.scaffold import write_capability


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


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_capability("acme-docs", tmp_path)
    (tmp_path / "acme-docs" / "README.md").write_text("mine")
    with pytest.raises(Conflict, match="exists already"):
        write_capability("acme-docs", tmp_path)
    assert (tmp_path / "acme-docs" / "README.md").read_text() == "mine"
