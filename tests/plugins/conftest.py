"""Installs small distributions for real: a module and a `.dist-info` on the import path."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from textwrap import dedent

import pytest

from mission_system.core.settings import Settings
from mission_system.plugins import discovery

Install = Callable[..., str]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that Python imports from."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture(autouse=True)
def nothing_else_installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins that happen to be installed beside the server, an example for one, do not count."""
    monkeypatch.setattr(
        discovery,
        "distributions",
        lambda: [
            found
            for found in distributions()
            if Path(str(found.locate_file(""))) == site or found.name == "mission-system"
        ],
    )


@pytest.fixture
def install(site: Path) -> Iterator[Install]:
    """Installs a distribution with one module and gives the module's name.

    Without `entry_points` it has one, which is called as the distribution less its `acme-`.
    """
    before = set(sys.modules)

    def write(
        distribution: str,
        source: str,
        *,
        version: str = "1.0",
        entry_points: Mapping[str, str] | None = None,
    ) -> str:
        module = distribution.replace("-", "_")
        (site / f"{module}.py").write_text(dedent(source))
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        points = entry_points or {distribution.removeprefix("acme-"): module}
        lines = "\n".join(f"{name} = {value}" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[mission_system]\n{lines}\n")
        return module

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("acme_"):
            del sys.modules[name]


@pytest.fixture
def settings() -> Settings:
    return Settings()
