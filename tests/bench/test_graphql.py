"""The bench of GraphQL runs, in its short form: every line is measured beside its floor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "graphql.py"
LINES = ["hello", "100 x 10 fields", "50 sessions", "a turn"]
CALLERS = [1, 16]


@pytest.mark.sqlite
@pytest.mark.timeout(300)
def test_every_flow_is_measured_beside_its_floor() -> None:
    bench = subprocess.run(
        [sys.executable, str(BENCH), "1", "0.3"],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert bench.returncode == 0, bench.stderr
    _, _, *lines = bench.stdout.splitlines()
    measured = [(line[:16].strip(), line[16:].split()) for line in lines]
    assert [(name, int(numbers[0])) for name, numbers in measured] == [
        *((name, callers) for name in LINES for callers in CALLERS),
        ("fan-out", 200),
    ]
    for name, (_, floor, ours, *_) in measured:
        assert float(floor) > 0, name
        assert float(ours) > 0, name
