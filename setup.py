"""Finds the packages: short folders on disk, `mission_system.*` once installed."""

from setuptools import find_packages, setup

FACADE = "core/_root"
FOLDERS = ("core", "plugins", "schema", "web")

inside = find_packages(
    include=[f"{folder}{suffix}" for folder in FOLDERS for suffix in ("", ".*")],
    exclude=["core._root", "core._root.*"],
)
setup(
    packages=[
        "mission_system",
        *(f"mission_system.{name}" for name in (*find_packages(FACADE), *inside)),
    ]
)
