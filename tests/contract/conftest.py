"""Clients of the contract, and the servers that they share.

A test is named by the section of the contract and by the fact. Servers live as long as the session
of tests does; each test has users of its own, so that nobody sees what another test did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, cast

import httpx
import pytest
from databases import ChosenDatabases

from .served import SECONDS, Served, served

Json = dict[str, Any]
B = "/api/v1/chat"
NUMBERS = count(1)


@dataclass(frozen=True)
class Api:
    """Calls a server as one user."""

    server: Served
    http: httpx.Client
    user: str

    def of(self, user: str) -> Api:
        return replace(self, user=user)

    def call(self, method: str, path: str, body: object = None, **query: Any) -> httpx.Response:
        given: Json = {} if body is None else {"json": body}
        asked = {"user_id": self.user} | query
        params = {name: value for name, value in asked.items() if value is not None}
        return self.http.request(method, path, params=params, **given)

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.call("GET", path, **query)

    def post(self, path: str, **body: Any) -> httpx.Response:
        """A POST that names the user in its body."""
        return self.http.post(f"/api/v1/{path}", json={"user_id": self.user} | body)

    def session(self, title: str | None = None) -> str:
        made = self.post("chat/sessions", title=title)
        assert made.status_code == 201, made.text
        return cast(str, made.json()["session_id"])

    def send(self, message: str, session: str | None = None) -> Json:
        """The answer of a send that must succeed."""
        body = {"message": message, "session_id": session}
        sent = self.call("POST", f"{B}/messages", body)
        assert sent.status_code == 200, sent.text
        return cast(Json, sent.json())

    def submit(self, message: str, **body: Any) -> Json:
        """The answer of a request that must succeed."""
        made = self.post("requests", user_message=message, **body)
        assert made.status_code == 200, made.text
        return cast(Json, made.json())

    def one(self, session: str) -> Json:
        found = self.get(f"{B}/sessions/{session}")
        assert found.status_code == 200, found.text
        return cast(Json, found.json())

    def sessions(self, **query: Any) -> list[Json]:
        found = self.get(f"{B}/sessions", **query)
        assert found.status_code == 200, found.text
        return cast(list[Json], found.json())

    def messages(self, session: str, **query: Any) -> list[Json]:
        found = self.get(f"{B}/sessions/{session}/messages", **query)
        assert found.status_code == 200, found.text
        return cast(list[Json], found.json())

    def search(self, query: str, **more: Any) -> list[Json]:
        found = self.get(f"{B}/search", query=query, **more)
        assert found.status_code == 200, found.text
        return cast(list[Json], found.json())

    def status(self, id: str) -> Json:
        found = self.get(f"/api/v1/requests/{id}/status")
        assert found.status_code == 200, found.text
        return cast(Json, found.json())


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, databases: ChosenDatabases
) -> Iterator[Served]:
    """As it is without any setting: whoever is named is believed."""
    with served(tmp_path_factory.mktemp("open")) as server:
        yield server


@pytest.fixture(scope="session")
def asking(
    tmp_path_factory: pytest.TempPathFactory, databases: ChosenDatabases
) -> Iterator[Served]:
    """One that asks for tokens."""
    with served(tmp_path_factory.mktemp("tokens"), auth="tokens") as server:
        yield server


@pytest.fixture(scope="session")
def http(server: Served) -> Iterator[httpx.Client]:
    with client_of(server) as client:
        yield client


def client_of(server: Served, **options: Any) -> httpx.Client:
    limits = httpx.Limits(max_connections=200)
    return httpx.Client(base_url=server.url, timeout=SECONDS, limits=limits, **options)


@pytest.fixture
def user() -> str:
    """Somebody whom no other test knows."""
    return f"ann-{next(NUMBERS)}"


@pytest.fixture
def api(server: Served, http: httpx.Client, user: str) -> Api:
    return Api(server, http, user)


@pytest.fixture
def bob(api: Api) -> Api:
    """Another user of the same server."""
    return api.of(f"bob-{next(NUMBERS)}")


@pytest.fixture
def gate(server: Served, user: str) -> str:
    """A message on which the capability `held` waits until `server.gates.opened[gate].set()`."""
    name = f"gate of {user}"
    server.gates.gate(name)
    return name


def at_once(number: int, call: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    """The answers of so many calls that are made at the same time."""
    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(call, range(number)))


def problems(answer: httpx.Response) -> list[Json]:
    """What a 422 complains of."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert set(found) == {"detail"}
    for each in found["detail"]:
        assert {"type", "loc", "msg", "input"} <= set(each), each
        assert set(each) <= {"type", "loc", "msg", "input", "ctx"}, each
    return cast(list[Json], found["detail"])


def problem(answer: httpx.Response) -> tuple[str, list[Any]]:
    """Type and place of the only thing that a 422 complains of."""
    [found] = problems(answer)
    return found["type"], found["loc"]


def refused(answer: httpx.Response, status: int) -> str:
    """The text of a refusal that is no 422."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert set(found) == {"detail"}
    detail = found["detail"]
    assert isinstance(detail, str)
    assert detail
    return detail
