import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from structlog.testing import LogCapture

from mission_system.core.errors import Busy, Conflict, LLMError, MissionError, NotFound
from mission_system.web.failures import Incidents, http_error, mission_error

RAISED = {
    "missing": NotFound("process", "p1"),
    "taken": Conflict("answered already"),
    "busy": Busy("the line is full", retry_after=2.4),
    "model": LLMError("unavailable", "no provider"),
    "crash": RuntimeError("SELECT secret FROM /srv/data"),
}


async def fail(request: Request) -> Response:
    raise RAISED[request.path_params["how"]]


async def fine(_request: Request) -> Response:
    structlog.get_logger().info("inside")
    return PlainTextResponse("fine")


async def breaks_off(_request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun"
        raise RuntimeError("half way")

    return StreamingResponse(pieces())


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = Starlette(
        routes=[
            Route("/fine", fine),
            Route("/breaks-off", breaks_off),
            Route("/fail/{how}", fail),
        ],
        middleware=[Middleware(Incidents, lambda: False)],
        exception_handlers={HTTPException: http_error, MissionError: mission_error},
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture])
    yield capture
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("path", "method", "status", "body"),
    [
        ("/nowhere", "GET", 404, {"detail": "Not Found"}),
        ("/fine", "POST", 405, {"detail": "Method Not Allowed"}),
        ("/fail/missing", "GET", 404, {"detail": "process not found: p1"}),
        ("/fail/taken", "GET", 409, {"detail": "answered already"}),
        ("/fail/busy", "GET", 429, {"detail": "the line is full"}),
        ("/fail/model", "GET", 500, {"detail": "no provider"}),
    ],
)
async def test_a_client_is_told_in_json(
    client: httpx.AsyncClient, path: str, method: str, status: int, body: dict[str, str]
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()) == (status, body)


async def test_405_names_the_methods_and_429_the_wait(client: httpx.AsyncClient) -> None:
    assert "GET" in (await client.post("/fine")).headers["allow"]
    assert (await client.get("/fail/busy")).headers["retry-after"] == "3"


async def test_an_unexpected_failure_shows_an_incident_that_the_log_explains(
    client: httpx.AsyncClient, logged: LogCapture
) -> None:
    answer = await client.get("/fail/crash")
    incident = answer.headers["x-request-id"]
    assert answer.status_code == 500
    assert answer.json() == {"detail": f"Internal error (incident {incident})"}
    (entry,) = logged.entries
    assert entry["http_request_id"] == incident
    assert entry["exc_info"]


async def test_log_lines_carry_the_id_of_their_request(
    client: httpx.AsyncClient, logged: LogCapture
) -> None:
    answers = [await client.get("/fine") for _ in range(2)]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert [entry["http_request_id"] for entry in logged.entries] == ids
    assert ids[0] != ids[1]


async def test_an_answer_that_breaks_off_does_not_look_complete(
    client: httpx.AsyncClient, logged: LogCapture
) -> None:
    with pytest.raises(RuntimeError, match="half way"):
        await client.get("/breaks-off")
    assert [entry["event"] for entry in logged.entries] == ["request.failed"]


@pytest.mark.parametrize(("draining", "expected"), [(True, 503), (False, None)])
async def test_what_a_shutdown_cuts_short_is_told_so(draining: bool, expected: int | None) -> None:
    begun = asyncio.Event()

    async def waits(_request: Request) -> Response:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    app = Starlette(
        routes=[Route("/", waits)], middleware=[Middleware(Incidents, lambda: draining)]
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        request = asyncio.create_task(client.get("/"))
        await begun.wait()
        request.cancel()
        if expected is None:
            with pytest.raises(asyncio.CancelledError):
                await request
        else:
            assert (await request).status_code == expected
