"""The bench of probes ends when its prober does."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"
MEASURE = """
import os, sys
import probes
from harness import Measured, Server

if __name__ == "__main__":
    probes.drive = lambda *_: Measured(1.0, 1.0, [1.0])
    probes.beside_probes(Server(os.getpid(), int(sys.argv[1])), None, 0)
"""


def test_a_prober_that_fails_is_told_of_and_not_waited_for(tmp_path: Path) -> None:
    script = tmp_path / "measure.py"
    script.write_text(MEASURE)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen: the prober is refused
        bench = subprocess.run(
            [sys.executable, str(script), str(silent.getsockname()[1])],
            check=False,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(BENCH)},
            timeout=60,
        )
    assert bench.returncode == 1
    assert "ConnectionRefusedError" in bench.stderr
    assert bench.stderr.strip().endswith("the prober has failed; why is above")
