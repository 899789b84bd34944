"""How much a base install weighs, and how long the first moments take.

    .venv/bin/python bench/startup.py [runs]

Installs the checkout, without extras, into a fresh environment and measures there. Times are
medians of wall times, of whole processes where not said otherwise.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
INSTALLERS = {"pip", "setuptools"}
BIGGEST = 8
MB = 1_000_000
STATEMENTS = (
    "import mission_system",
    "from mission_system import Settings",
    "from mission_system import create_app",
)


def milliseconds(runs: int, *command: str | Path) -> float:
    """Median wall time of a process."""
    times: list[float] = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]) * 1000  # the first run wrote the bytecode


def import_milliseconds(runs: int, python: Path, statement: str) -> float:
    """Median time of one statement in a fresh interpreter, its start not counted."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    times = [
        float(subprocess.check_output([python, "-c", code], text=True, timeout=60))
        for _ in range(runs + 1)
    ]
    return statistics.median(times[1:]) * 1000


def sizes(site: Path) -> dict[str, int]:
    """Bytes of each installed distribution, bytecode included."""
    found: dict[str, int] = defaultdict(int)
    for distribution in distributions(path=[str(site)]):
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            if path.is_file() and path.is_relative_to(site):
                found[distribution.name] += path.stat().st_size
    return {name: size for name, size in found.items() if name not in INSTALLERS}


def report(label: str, value: float, unit: str) -> None:
    print(f"{label:<40}{value:8.1f} {unit}")


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, environment = Path(folder, "source"), Path(folder, "venv")
        # A build leaves its folders behind, which must not happen to the checkout.
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "build"))
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        python = environment / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", source], check=True)
        [site] = environment.glob("lib/python*/site-packages")

        weights = sizes(site)
        report(f"base install, {len(weights)} packages", sum(weights.values()) / MB, "MB")
        for name, size in sorted(weights.items(), key=lambda item: -item[1])[:BIGGEST]:
            report(f"  {name}", size / MB, "MB")

        report("python -c pass", milliseconds(runs, python, "-c", "pass"), "ms")
        report("mission --help", milliseconds(runs, python.parent / "mission", "--help"), "ms")
        for statement in STATEMENTS:
            report(f"  {statement}", import_milliseconds(runs, python, statement), "ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
