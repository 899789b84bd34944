"""The lease: one server to a folder, released by the kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mission_system.core.storage.lease import FolderUnusable, Lease, LeaseHeld

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


@pytest.mark.parametrize("name", ["server.lock", "server.json.new"])
def test_folder_where_the_lock_belongs_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    told = f"Is a directory: '{tmp_path}/{name}'. Move away"
    with pytest.raises(FolderUnusable, match=told):
        Lease(tmp_path).acquire()
    assert name != "server.json.new" or Lease.read(tmp_path) is None


def test_file_where_the_folder_belongs_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    with pytest.raises(FolderUnusable, match="File exists"):
        Lease(tmp_path / "data").acquire()
    with pytest.raises(FolderUnusable, match="--data"):
        Lease.read(tmp_path / "data")


def test_folder_that_cannot_be_made_is_not_said_to_be_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(FolderUnusable, match=r"'\. Choose another folder with --data"):
        Lease(tmp_path / ("x" * 1000)).acquire()
    denied = FolderUnusable(tmp_path, PermissionError(13, "Permission denied", "x"))
    assert "'x'. Let this user write there, or choose another folder" in denied.message


def test_folder_that_the_server_makes_is_unknown_to_git_and_others_are_left_alone(
    tmp_path: Path,
) -> None:
    Lease(tmp_path / "new").acquire()
    assert (tmp_path / "new" / ".gitignore").read_text() == "*\n"
    (tmp_path / "there").mkdir()
    Lease(tmp_path / "there").acquire()
    assert not (tmp_path / "there" / ".gitignore").exists()
