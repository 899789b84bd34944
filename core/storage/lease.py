"""The exclusive lease on a data folder: one server at a time, and anyone can see which."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from ..errors import MissionError

LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """Who holds a folder. `url` is None until the server listens; `started_at` is ISO-8601."""

    pid: int
    host: str
    started_at: str
    url: str | None = None


class LeaseHeld(MissionError):
    """Another server uses the same data."""

    code = "LEASE_HELD"


class FolderHeld(LeaseHeld):
    """Another server uses the folder."""

    def __init__(self, folder: Path, holder: LeaseInfo | None) -> None:
        who = (
            f"process {holder.pid} on {holder.host}, at {holder.url or 'no address yet'},"
            f" since {holder.started_at}"
            if holder
            else "a server that has not said its name yet"
        )
        super().__init__(
            f"data folder '{folder}' is in use by {who}."
            " Stop that server, or choose another folder with --data or MISSION_DATA."
        )
        self.holder = holder


class DatabaseHeld(LeaseHeld):
    """Another server uses the database."""

    def __init__(self, database: str, who: str) -> None:
        super().__init__(
            f"database '{database}' is in use by {who}. Stop that server, or give this one"
            " a database or schema of its own with MISSION_DATABASE_URL."
        )


class FolderUnusable(MissionError):
    """The data folder cannot be made, or not be written."""

    code = "FOLDER_UNUSABLE"

    def __init__(self, folder: Path, error: OSError) -> None:
        match error:
            case FileExistsError() | IsADirectoryError() | NotADirectoryError():
                advice = "Move away what is in the way, or choose"
            case PermissionError():
                advice = "Let this user write there, or choose"
            case _:
                advice = "Choose"
        super().__init__(
            f"data folder '{folder}' cannot be used: {error.strerror}: '{error.filename}'."
            f" {advice} another folder with --data or MISSION_DATA."
        )


class Lease:
    """An advisory lock that the kernel releases when its holder dies, however it dies.

    The lock is `server.lock`; `server.json` beside it says who holds it, and is believed only
    while the lock is held.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd: int | None = None
        self._info: LeaseInfo | None = None

    def acquire(self) -> None:
        """Take the folder. A new one is made private to this user, and unknown to git.

        Raises:
            FolderHeld: another server has it.
            FolderUnusable: it is none, or something in it is in the way.
        """
        try:
            self._make_folder()
            fd = os.open(self._folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise FolderUnusable(self._folder, error) from error
        if not _locked(fd, fcntl.LOCK_EX, patience=LOOK_SECONDS):
            os.close(fd)
            raise FolderHeld(self._folder, _read_info(self._folder))
        self._fd = fd
        started_at = datetime.now(UTC).isoformat("T", "seconds")
        try:
            self._publish(LeaseInfo(os.getpid(), socket.gethostname(), started_at))
        except OSError as error:
            self.release()
            raise FolderUnusable(self._folder, error) from error

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            if self._folder.is_dir():
                return
            raise
        (self._folder / ".gitignore").write_text("*\n")

    def announce(self, url: str) -> None:
        """Say where the server listens, for the command line to find it."""
        if self._info is not None:
            self._publish(replace(self._info, url=url))

    def release(self) -> None:
        if self._fd is not None:
            (self._folder / "server.json").unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = None
            self._info = None

    @staticmethod
    def read(folder: Path) -> LeaseInfo | None:
        """The live holder of a folder, or None when nobody has it. Raises FolderUnusable."""
        try:
            fd = os.open(folder / "server.lock", os.O_RDWR)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FolderUnusable(folder, error) from error
        try:
            return None if _locked(fd, fcntl.LOCK_SH, patience=0) else _read_info(folder)
        finally:
            os.close(fd)

    def _publish(self, info: LeaseInfo) -> None:
        self._info = info
        temporary = self._folder / "server.json.new"
        temporary.write_bytes(orjson.dumps(asdict(info)))
        temporary.replace(self._folder / "server.json")


def _locked(fd: int, how: int, patience: float) -> bool:
    """Take the lock, if it can be had in `patience` seconds.

    The instant for which somebody looks (`Lease.read`) must not pass for a server.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        else:
            return True


def _read_info(folder: Path) -> LeaseInfo | None:
    try:
        return LeaseInfo(**orjson.loads((folder / "server.json").read_bytes()))
    except (FileNotFoundError, orjson.JSONDecodeError, TypeError):
        return None
