"""The wheel: complete, nothing beside it, and working away from the checkout."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("core", "plugins", "schema", "web")
FACADE = "core/_root"
BESIDE = ("tests", "examples", "bench", "scripts")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=110)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy: a stale `build/` or `.egg-info` can bring deleted modules into a wheel."""
    copy = tmp_path_factory.mktemp("checkout")
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
    for folder in (*FOLDERS, *BESIDE):
        shutil.copytree(ROOT / folder, copy / folder, ignore=left_out)
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    run(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--outdir",
        "direct",
        cwd=checkout,
    )
    [path] = (checkout / "direct").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel_of_sdist(checkout: Path, wheel: Path) -> Path:
    # After `wheel`: building one removes the `build` folder that the other would pick up.
    shutil.rmtree(checkout / "build", ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "by-sdist", cwd=checkout)
    [path] = (checkout / "by-sdist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it, and this one's other packages behind it."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=wheel.parent)
    python = folder / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python),
        *("install", "--quiet", "--no-deps", "--no-index", wheel),
        cwd=wheel.parent,
    )
    # A path line, unlike a site folder, brings the packages without the editable install's finder.
    [site] = folder.glob("lib/python*/site-packages")
    (site / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def contents(wheel: Path) -> Mapping[str, str]:
    """Digest by name of every file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def installed_name(path: str) -> str:
    return f"mission_system/{path.removeprefix(FACADE + '/')}"


def test_the_wheel_holds_every_file_of_the_four_folders_and_no_other(
    checkout: Path, wheel: Path
) -> None:
    expected = {
        installed_name(path.relative_to(checkout).as_posix())
        for folder in FOLDERS
        for path in (checkout / folder).rglob("*")
        if path.is_file()
    }
    shipped = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert shipped == expected
    assert "mission_system/py.typed" in shipped
    assert "mission_system/schema/static/graphiql/index.html" in shipped
    assert any(
        re.fullmatch(r"mission_system/core/storage/migrations/\d+\w*\.py", n) for n in shipped
    )


def test_the_wheel_built_from_the_sdist_is_the_same(wheel: Path, wheel_of_sdist: Path) -> None:
    assert contents(wheel_of_sdist) == contents(wheel)


def test_the_installed_package_is_the_wheel_s(environment: Path) -> None:
    python = environment / "bin" / "python"
    found = run(
        python, "-I", "-c", "import mission_system as m; print(m.__file__)", cwd=environment
    )
    assert Path(found.strip()).is_relative_to(environment)


def test_the_short_folder_names_are_not_installed(environment: Path) -> None:
    look = f"""
from importlib.util import find_spec
print([name for name in {FOLDERS!r} if find_spec(name)])
"""
    assert run(environment / "bin" / "python", "-I", "-c", look, cwd=environment).strip() == "[]"


def test_the_installed_command_and_module_give_help(environment: Path) -> None:
    scripts = environment / "bin"
    assert "serve" in run(scripts / "mission", "--help", cwd=environment)
    assert "serve" in run(scripts / "python", "-m", "mission_system", "--help", cwd=environment)


def test_the_installed_package_makes_an_app(environment: Path) -> None:
    make = "from mission_system import create_app; print(type(create_app()).__name__)"
    made = run(environment / "bin" / "python", "-I", "-c", make, cwd=environment)
    assert made.splitlines()[-1] == "Starlette"
