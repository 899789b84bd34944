"""The rules of the house that no type checker knows."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("core", "plugins", "schema", "web")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]

LONGEST_MODULE = 400
GRAB_BAGS = {"utils", "util", "common", "helpers", "helper", "misc"}


def imports(path: Path) -> list[tuple[int, str]]:
    """Line and module of each absolute import."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append((node.lineno, node.module))
    return found


def import_linter(links: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(links)},
        capture_output=True,
        text=True,
        timeout=100,
    )


def link_packages(to: Path) -> Path:
    """The packages under their installed names, as `make types` lays them out."""
    package = to / "mission_system"
    package.mkdir(parents=True)
    for source in (*(ROOT / folder for folder in FOLDERS), *(ROOT / "core/_root").iterdir()):
        if source.name != "__pycache__":
            (package / source.name).symlink_to(source)
    return to


def test_layers_import_downward_only(tmp_path: Path) -> None:
    result = import_linter(link_packages(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_upward_import_is_noticed(tmp_path: Path) -> None:
    links = link_packages(tmp_path)
    core = links / "mission_system" / "core"
    core.unlink()
    core.mkdir()
    for source in (ROOT / "core").iterdir():
        (core / source.name).symlink_to(source)
    (core / "climber.py").write_text("from ..web import cli\n")
    result = import_linter(links)
    assert result.returncode != 0
    assert "mission_system.core.climber" in result.stdout


def absolute_imports(folders: Iterable[str], roots: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in imports(path)
        if name.split(".")[0] in roots
    ]


def test_package_code_imports_its_own_modules_relatively() -> None:
    assert absolute_imports(FOLDERS, {"mission_system", *FOLDERS}) == []


def test_all_other_code_imports_by_the_installed_name() -> None:
    assert absolute_imports(("tests", "examples", "bench", "scripts"), set(FOLDERS)) == []


def test_no_module_holds_two_topics_worth_of_lines() -> None:
    lengths = {path: path.read_bytes().count(b"\n") for path in SOURCES}
    too_long = {
        str(path.relative_to(ROOT)): lines
        for path, lines in lengths.items()
        if lines > LONGEST_MODULE and path.parent.name != "migrations"
    }
    assert too_long == {}


def test_no_module_is_a_grab_bag() -> None:
    assert [path for path in SOURCES if path.stem in GRAB_BAGS] == []
