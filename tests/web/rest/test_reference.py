"""The API's description is what the server does, and a page shows it without foreign help."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from starlette.routing import Route

from mission_system.web.rest.openapi import describe
from mission_system.web.rest.table import ENDPOINTS, routes

from .conftest import Api, B, Json

SNAPSHOT = Path(__file__).parents[3] / "openapi.json"


@pytest.fixture(scope="module")
def document() -> Json:
    return describe(ENDPOINTS)


def test_the_committed_description_is_the_current_one(document: Json) -> None:
    assert orjson.loads(SNAPSHOT.read_bytes()) == document, (
        "run: python -m mission_system.web.rest > openapi.json"
    )


def test_every_route_is_described(document: Json) -> None:
    served = {
        (route.path, method)
        for route in routes
        if isinstance(route, Route) and route.path.startswith("/api")
        for method in (route.methods or ())
        if method != "HEAD"
    }
    described = {
        (path, method.upper()) for path, methods in document["paths"].items() for method in methods
    }
    assert served == described
    assert len(described) == 19


def test_every_reference_leads_somewhere(document: Json) -> None:
    text = orjson.dumps(document).decode()
    schemas = document["components"]["schemas"]
    for part in text.split('"$ref":"')[1:]:
        assert part.split('"')[0].removeprefix("#/components/schemas/") in schemas


def test_parameters_carry_their_bounds(document: Json) -> None:
    listing = document["paths"][f"{B}/sessions"]["get"]
    parameters = {each["name"]: each for each in listing["parameters"]}
    assert parameters["user_id"]["required"] is True
    assert parameters["limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 200,
        "default": 50,
    }
    one = document["paths"][f"{B}/sessions/{{session_id}}"]["get"]
    assert [each["in"] for each in one["parameters"] if each["name"] == "session_id"] == ["path"]


async def test_the_description_is_served(api: Api, document: Json) -> None:
    answer = await api.http.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == document


async def test_the_page_shows_every_operation_and_loads_nothing(api: Api) -> None:
    answer = await api.http.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for endpoint in ENDPOINTS:
        assert f"{endpoint.method} {endpoint.path}" in answer.text
    for foreign in ("http://", "https://", "<script", "<link", "src="):
        assert foreign not in answer.text
