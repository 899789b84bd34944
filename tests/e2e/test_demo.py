"""The main job: the demo asks about real sources, and what it cites is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from databases import ChosenDatabases

ROOT = Path(__file__).parents[2]
CITATION = re.compile(r"^- (\S+):(\d+) .*?`(.+)`$", re.MULTILINE)


def test_demo_answers_about_this_repository_with_citations_that_are_true(
    tmp_path: Path, databases: ChosenDatabases
) -> None:
    arguments = ["demo", "--once", "--port", "0", "--data", str(tmp_path / "data")]
    ran = subprocess.run(
        [sys.executable, "-m", "mission_system", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "400", **databases.environment(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    for stage in ("perception", "intent", "planner", "traverser", "synthesizer", "critic"):
        assert f"- {stage}" in ran.stderr  # progress; the answer alone is on stdout
    citations = CITATION.findall(ran.stdout)
    assert ("core/tower/control_tower.py", "class ControlTower(Views):") in [
        (path, text) for path, _, text in citations
    ]
    for path, line, text in citations:
        lines = (ROOT / path).read_text().splitlines()
        assert text in lines[int(line) - 1]
