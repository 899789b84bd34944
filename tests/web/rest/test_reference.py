"""The API's description is what the server does, and a page shows it without foreign help."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from starlette.routing import Route

from mission_system.web import probes
from mission_system.web.rest.openapi import describe
from mission_system.web.rest.table import OPERATIONS, routes

from .conftest import Api, B, Json

SNAPSHOT = Path(__file__).parents[3] / "openapi.json"


@pytest.fixture(scope="module")
def document() -> Json:
    return describe(OPERATIONS)


def test_the_committed_description_is_the_current_one(document: Json) -> None:
    assert orjson.loads(SNAPSHOT.read_bytes()) == document, (
        "run: python -m mission_system.web.rest > openapi.json"
    )


def test_every_route_is_described(document: Json) -> None:
    served = {
        (route.path, method)
        for route in (*probes.routes, *routes)
        if isinstance(route, Route) and route.path not in ("/openapi.json", "/docs")
        for method in (route.methods or ("GET",))
        if method != "HEAD"
    }
    described = {
        (path, method.upper()) for path, methods in document["paths"].items() for method in methods
    }
    assert served == described
    assert len(described) == 22


def test_operations_have_names_of_their_own(document: Json) -> None:
    names = [
        each["operationId"] for methods in document["paths"].values() for each in methods.values()
    ]
    assert len(names) == len(set(names))


def test_refusals_are_described(document: Json) -> None:
    paths = document["paths"]
    for path, methods in paths.items():
        for operation in methods.values():
            found = set(operation["responses"])
            if path.startswith("/api"):
                assert {"401", "403", "503"} <= found
                assert "security" not in operation
            else:
                assert "401" not in found
                assert operation["security"] == []
            assert ("413" in found) is ("requestBody" in operation)
            for status in found & {"401", "403", "409", "413", "429"}:
                content = operation["responses"][status]["content"]
                schema = {"$ref": "#/components/schemas/Error"}
                assert content == {"application/json": {"schema": schema}}
    for path in ("requests", "confirmations", "chat/clarifications", "chat/messages"):
        answers = paths[f"/api/v1/{path}"]["post"]["responses"]
        assert {"409", "429"} <= set(answers)
        assert "Retry-After" in answers["429"]["headers"]
    not_ready = {"$ref": "#/components/schemas/NotReadyResponse"}
    assert (
        paths["/health"]["get"]["responses"]["500"]["content"]["application/json"]["schema"]
        == not_ready
    )


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
    for endpoint in OPERATIONS:
        assert f"{endpoint.method} {endpoint.path}" in answer.text
    for foreign in ("http://", "https://", "<script", "<link", "src="):
        assert foreign not in answer.text


async def test_the_page_names_models_and_shows_their_fields(api: Api, document: Json) -> None:
    page = (await api.http.get("/docs")).text
    assert "$ref" not in page
    assert "anyOf" not in page
    shown = {row.split("</table>")[0].split("</h3>")[0]: row for row in page.split('<h3 id="')[1:]}
    for name, schema in document["components"]["schemas"].items():
        [part] = [row for start, row in shown.items() if start.startswith(f'{name}"')]
        for field in schema.get("properties", {}):
            assert f"<code>{field}</code>" in part
    for link in page.split('href="#')[1:]:
        assert link.split('"')[0] in document["components"]["schemas"]
    assert 'array of <a href="#SessionResponse">SessionResponse</a>' in page
    assert "integer, 1 to 200, default 50" in page
    assert "string, 1 to 255 characters" in page
