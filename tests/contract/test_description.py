"""The description at `/openapi.json` holds for whatever is sent: schemathesis looks for a request
that it does not hold for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from databases import ChosenDatabases
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .conftest import Api, client_of
from .served import Served, served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]
FEW = settings(
    max_examples=settings().max_examples // 4,
    deadline=None,
    suppress_health_check=[
        *(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
        HealthCheck.function_scoped_fixture,
    ],
)


@pytest.fixture(scope="module", params=["none", "tokens"])
def searched(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    databases: ChosenDatabases,
) -> Iterator[Served]:
    settings = {"auth": request.param, "rest_wait_seconds": 5}
    with served(tmp_path_factory.mktemp("searched"), **settings) as server:
        yield server


Headers = dict[str, str]


def shown(server: Served, user: str, **more: Any) -> Headers:
    """What shows who is calling, where that is asked for."""
    if server.plugin.runtime.settings.auth == "none":
        return {}
    return {"Authorization": f"Bearer {server.token(user, **more)}"}


@pytest.fixture(scope="module")
def anybody(searched: Served) -> Headers:
    """Of one who may name anybody."""
    return shown(searched, "gateway", role="service")


@pytest.fixture(scope="module")
def ann(searched: Served) -> Headers:
    return shown(searched, "ann")


@pytest.fixture(scope="module")
def known(searched: Served, ann: Headers) -> dict[str, Any]:
    """What there is, so that requests find something."""
    with client_of(searched, headers=ann) as http:
        api = Api(searched, http, "ann")
        session = api.send("hello")["session_id"]
        for text in ("two", "three", "/clarify", "/confirm", "/fail"):
            asked = api.send(text, session)
        message = api.messages(session)[0]["message_id"]
    return {
        "session_id": session,
        "message_id": message,
        "pid": asked["request_id"],
        "tool_name": "look_up",
        "user_id": "ann",
    }


# What is committed is what is served; another test holds that.
schema = schemathesis.openapi.from_path(Path(__file__).parents[2] / "openapi.json")


@schema.parametrize()
@FEW
def test_no_request_is_answered_otherwise_than_described(
    case: schemathesis.Case, searched: Served, anybody: Headers
) -> None:
    case.call_and_validate(base_url=searched.url, checks=CHECKS, timeout=60, headers=anybody)


@schema.parametrize()
@FEW
def test_no_request_about_what_exists_is_answered_otherwise(
    case: schemathesis.Case, searched: Served, ann: Headers, known: dict[str, Any]
) -> None:
    for place in (case.path_parameters, case.query):
        if isinstance(place, dict):
            place.update({name: known[name] for name in place if name in known})
    if isinstance(case.body, dict) and "user_id" in case.body:
        case.body["user_id"] = known["user_id"]
    if case.method == "DELETE" and isinstance(case.query, dict):
        case.query["soft"] = "true"
    case.call_and_validate(base_url=searched.url, checks=CHECKS, timeout=60, headers=ann)
