"""A command line and servers that really run, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mission_system.core.storage.lease import Lease

MISSION = [sys.executable, "-m", "mission_system"]
TRIALS = Path(__file__).with_name("trials.py")
SECONDS = 90.0  # a guard against hanging, wide enough for a busy machine


@dataclass
class Cli:
    """Runs `mission` with the data folder and the plugins of one test."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "plugins").mkdir()
        self.install("acme_trials", TRIALS.read_text())

    def install(self, name: str, source: str) -> None:
        """Put a distribution with one plugin where the commands look for such."""
        folder = self.folder / "plugins"
        (folder / f"{name}.py").write_text(source)
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mission_system]\n{name} = {name}\n")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def environ(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MISSION_")}
        return {
            **kept,
            "PYTHONPATH": str(self.folder / "plugins"),
            "MISSION_DATA": str(self.data),
            **self.environment,
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MISSION, *arguments],
            env={**self.environ, **environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*MISSION, *arguments],
            env=self.environ,
            cwd=self.folder,
            text=True,
            start_new_session=True,
            **options,
        )

    @contextlib.contextmanager
    def server(self, *arguments: str) -> Iterator[Server]:
        log = (self.folder / "server.log").open("w+")
        process = self.start("serve", "--port", "0", *arguments, stdout=log, stderr=log)
        try:
            yield Server(process, self.folder / "server.log", self._url(process))
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(SECONDS)
            log.close()

    @contextlib.contextmanager
    def at_terminal(self, *arguments: str) -> Iterator[Terminal]:
        """A command whose input, output and errors are one terminal."""
        ours, theirs = os.openpty()
        process = self.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(SECONDS)
            os.close(ours)

    def process(self, pid: str) -> dict[str, Any]:
        """What the running server says of a process."""
        holder = Lease.read(self.data)
        assert holder is not None
        assert holder.url is not None
        query = "query($id: ID!) { process(id: $id) { state outcome } }"
        process: dict[str, Any] = post(holder.url, query, {"id": pid})["process"]
        return process

    def _url(self, process: subprocess.Popen[str]) -> str:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            holder = Lease.read(self.data)
            if holder is not None and holder.url is not None:
                return holder.url
            time.sleep(0.02)
        log = (self.folder / "server.log").read_text()
        raise AssertionError(f"no server on {self.data}, exit code {process.poll()}: {log}")


@dataclass
class Server:
    process: subprocess.Popen[str]
    log: Path
    url: str

    @property
    def events(self) -> list[str]:
        """What the log tells of, line by line."""
        return [json.loads(line)["event"] for line in self.log.read_text().splitlines()]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=SECONDS) as answer:
            return json.load(answer)

    def execute(self, query: str) -> dict[str, Any]:
        """The `data` of a GraphQL operation."""
        return post(self.url, query, {})

    @contextlib.contextmanager
    def stream(self, query: str, variables: dict[str, Any]) -> Iterator[Iterator[bytes]]:
        """The lines of a subscription, as server-sent events."""
        with urllib.request.urlopen(
            _request(self.url, query, variables, "text/event-stream"), timeout=SECONDS
        ) as answer:
            yield iter(answer)

    def ask_to_stop(self) -> None:
        """Returns when it says that it stops."""
        self.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + SECONDS
        while "server.stopping" not in self.events:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@dataclass
class Terminal:
    process: subprocess.Popen[str]
    side: int
    seen: str = ""

    def process_at(self, text: str) -> str:
        """The pid that the command names before it writes `text`."""
        found = re.search(r"process ([0-9a-f-]+)", self.read_until(text))
        assert found
        return found[1]

    def read_until(self, text: str) -> str:
        """Everything up to and with `text`, which must come; later reads go on after it."""
        deadline = time.monotonic() + SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.seen!r}"
            if select.select([self.side], [], [], 0.2)[0]:
                self.seen += self._read()
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def type(self, text: str) -> None:
        os.write(self.side, text.encode())

    def end(self) -> tuple[int, str]:
        """The exit code, and everything that was not read yet."""
        rest = self.seen
        while piece := self._read():
            rest += piece
        return self.process.wait(SECONDS), rest

    def _read(self) -> str:
        try:
            return os.read(self.side, 4096).decode()
        except OSError:  # how Linux says that the other side of a terminal is closed
            return ""


def post(url: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The `data` of a GraphQL operation."""
    request = _request(url, query, variables, "application/json")
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        data: dict[str, Any] = json.load(answer)["data"]
    return data


def _request(
    url: str, query: str, variables: dict[str, Any], accept: str
) -> urllib.request.Request:
    body = json.dumps({"query": query, "variables": variables}).encode()
    headers = {"Content-Type": "application/json", "Accept": accept}
    return urllib.request.Request(f"{url}/graphql", body, headers)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A command line with a data folder of its own, and no server yet."""
    return Cli(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A command line beside a running server, for tests that leave it running."""
    cli = Cli(tmp_path_factory.mktemp("shared"))
    with cli.server():
        yield cli
