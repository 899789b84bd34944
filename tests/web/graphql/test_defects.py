"""What a plugin does wrong ends its operation, with an error over every transport, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
import strawberry

from mission_system.core.settings import Settings
from mission_system.plugins.hookspecs import hookimpl
from mission_system.web.app import create_app

from .conftest import JSON, RESPONSE, Connect, Http, Json, Server, started
from .test_socket import answers, operation
from .test_stream import read_events

HALF = "half of a pair: \ud83d"


@strawberry.type
class Queries:
    @strawberry.field
    async def cancelled(self) -> int | None:
        raise asyncio.CancelledError

    @strawberry.field
    def at_once(self) -> int | None:
        raise asyncio.CancelledError

    @strawberry.field
    async def of_another(self) -> int | None:
        task = asyncio.create_task(asyncio.Event().wait())
        task.cancel()
        await task
        return 1

    @strawberry.field
    def half(self) -> str:
        return HALF

    @strawberry.field
    async def slow(self) -> int:
        await asyncio.Event().wait()
        return 1


@strawberry.type
class Flaw:
    """An event that cannot be shown, by what its cursor says."""

    cursor: str

    @strawberry.field
    async def text(self) -> str | None:
        if self.cursor == "cancelled":
            raise asyncio.CancelledError
        return HALF if self.cursor == "half" else "fine"


@strawberry.type
class Mutations:
    @strawberry.mutation
    def half(self) -> str:
        return HALF

    @strawberry.mutation
    async def slow(self) -> int:
        await asyncio.Event().wait()
        return 1


@strawberry.type
class Subscriptions:
    @strawberry.subscription
    async def cancelled(self) -> AsyncGenerator[int, None]:
        yield 1
        raise asyncio.CancelledError

    @strawberry.subscription
    async def halves(self) -> AsyncGenerator[str, None]:
        yield HALF
        yield "whole"

    @strawberry.subscription
    async def flaws(self) -> AsyncGenerator[Flaw, None]:
        for cursor in ("first", "cancelled", "half", "last"):
            yield Flaw(cursor=cursor)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    module = ModuleType("defective")

    @hookimpl
    def register_graphql() -> Mapping[str, type]:
        return {"Query": Queries, "Mutation": Mutations, "Subscription": Subscriptions}

    module.__dict__["register_graphql"] = register_graphql
    settings = Settings(data=tmp_path, shutdown_seconds=0, operation_timeout_seconds=0.5)
    async with started(create_app(settings, [module])) as server:
        yield server


def check_internal(payload: Json) -> None:
    assert payload["data"] is None
    [error] = payload["errors"]
    assert error["message"] == "Internal error"
    assert error["extensions"]["code"] == "INTERNAL"
    assert error["extensions"]["incident"]


DEFECTS = ["{ cancelled }", "{ atOnce }", "{ viewer { userId } ofAnother cancelled }", "{ half }"]


@pytest.mark.parametrize("query", DEFECTS)
@pytest.mark.parametrize("accept", [JSON, RESPONSE])
async def test_a_defect_is_an_error_over_http(http: Http, query: str, accept: str) -> None:
    response = await http.post({"query": query}, accept)
    assert response.status_code == 200
    check_internal(response.json())


async def test_a_defect_is_an_error_over_a_socket_and_its_id_is_free(connected: Connect) -> None:
    async with connected() as socket:
        for query in DEFECTS:
            result, end = await operation(socket, "alive", query)
            check_internal(result["payload"])
            assert end == {"type": "complete", "id": "alive"}
        await answers(socket)


async def test_a_defect_in_a_stream_does_not_break_it_off(http: Http, connected: Connect) -> None:
    one, failed = [
        data for _, data in await read_events(http, "subscription { cancelled }") if data
    ]
    assert one == {"data": {"cancelled": 1}}
    check_internal(failed)
    half, whole = [data for _, data in await read_events(http, "subscription { halves }") if data]
    check_internal(half)
    assert whole == {"data": {"halves": "whole"}}
    async with connected() as socket:
        await socket.subscribe("s", "subscription { cancelled }")
        messages = [await socket.receive() for _ in range(3)]
        assert [message["type"] for message in messages] == ["next", "next", "complete"]
        check_internal(messages[1]["payload"])
        await answers(socket)


async def test_a_defect_of_an_event_says_where_to_go_on_and_the_next_ones_follow(
    http: Http,
) -> None:
    query = "subscription { flaws { text } }"
    first, cancelled, half, last = [data for _, data in await read_events(http, query) if data]
    for flaw, cursor in ((cancelled, "cancelled"), (half, "half")):
        check_internal(flaw)
        assert flaw["errors"][0]["extensions"]["cursor"] == cursor
    assert first == last == {"data": {"flaws": {"text": "fine"}}}


async def test_a_mutation_whose_answer_cannot_be_written_says_that_it_was_executed(
    http: Http,
) -> None:
    answer = (await http.post({"query": "mutation { half }"})).json()
    assert answer["data"] is None
    assert answer["errors"][0]["message"] == "Internal error. The mutation has been executed."


@pytest.mark.parametrize("accept", [JSON, RESPONSE])
async def test_what_has_begun_and_takes_too_long_has_null_for_data(http: Http, accept: str) -> None:
    """Only what was never begun is without data, and may be sent again without a thought."""
    for kind in ("query", "mutation"):
        response = await http.post({"query": f"{kind} {{ slow }}"}, accept)
        assert response.status_code == 200
        assert response.json()["data"] is None
        [error] = response.json()["errors"]
        assert error["extensions"] == {"code": "TIMEOUT"}
        assert ("may have been executed" in error["message"]) is (kind == "mutation")
