"""The lease: one server to a folder, released by the kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mission_system.core.storage.lease import Lease, LeaseHeld

HOLD = """
import sys, pathlib
from mission_system.core.storage.lease import Lease
lease = Lease(pathlib.Path(sys.argv[1])); lease.acquire(); lease.announce("http://here:1")
print("held", flush=True); sys.stdin.read()
"""


def test_second_server_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    first = Lease(tmp_path)
    first.acquire()
    first.announce("http://127.0.0.1:8000")
    with pytest.raises(LeaseHeld) as error:
        Lease(tmp_path).acquire()
    assert str(os.getpid()) in error.value.message
    assert "http://127.0.0.1:8000" in error.value.message
    assert "--data" in error.value.message
    first.release()
    Lease(tmp_path).acquire()


def test_lease_of_a_killed_server_is_free_and_its_note_not_believed(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"held\n"
    holder = Lease.read(tmp_path)
    assert holder is not None
    assert (holder.pid, holder.url) == (server.pid, "http://here:1")
    server.send_signal(signal.SIGKILL)
    server.wait()
    assert (tmp_path / "server.json").exists()
    assert Lease.read(tmp_path) is None
    Lease(tmp_path).acquire()


def test_nobody_holds_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert Lease.read(tmp_path / "nowhere") is None


def test_new_data_folder_is_private(tmp_path: Path) -> None:
    Lease(tmp_path / "new").acquire()
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
