"""Answers: the status says whether anything was executed, and whose fault it is if not."""

from __future__ import annotations

import json
import tracemalloc

import orjson
import pytest
from graphql import GraphQLError
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from mission_system.schema.execution.results import LARGEST, SharedResult
from mission_system.web.graphql.answer import answered, refused, written
from mission_system.web.graphql.media import Media

MOST = 1 << 20


def error(code: str, *path: str) -> GraphQLError:
    return GraphQLError("no", path=list(path) or None, extensions={"code": code})


@pytest.mark.parametrize(
    ("result", "status", "keys"),
    [
        (ExecutionResult({"a": 1}, None), 200, ["data"]),
        (ExecutionResult({"a": None}, [error("NOT_FOUND", "a")]), 200, ["data", "errors"]),
        (ExecutionResult(None, [error("INTERNAL", "a")]), 200, ["data", "errors"]),
        (PreExecutionError(None, [error("INVALID_REQUEST")]), 400, ["errors"]),
        (ExecutionResult(None, [error("TIMEOUT")]), 200, ["data", "errors"]),
        (PreExecutionError(None, [error("TIMEOUT")]), 504, ["errors"]),
        (PreExecutionError(None, [error("INTERNAL")]), 500, ["errors"]),
        (ExecutionResult({}, None, {"took": 1}), 200, ["data", "extensions"]),
    ],
)
def test_the_status_fits_what_happened(
    result: ExecutionResult, status: int, keys: list[str]
) -> None:
    strict, lenient = [answered(result, media, MOST) for media in (Media.RESPONSE, Media.JSON)]
    assert (strict.status_code, lenient.status_code) == (status, 200)
    assert list(json.loads(bytes(strict.body))) == list(json.loads(bytes(lenient.body))) == keys


def test_a_refusal_is_json_whatever_was_asked_for() -> None:
    for media in (None, *Media):
        response = refused(error("INVALID_REQUEST"), media, 405, {"Allow": "POST"})
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
        assert "json; charset=utf-8" in response.headers["content-type"]


def test_only_what_is_small_is_kept_as_it_is_written() -> None:
    small, large = SharedResult({"a": "x"}, None), SharedResult({"a": "x" * LARGEST}, None)
    for result in (small, large):
        assert orjson.loads(written(result, MOST)) == {"data": result.data}
    assert small.encoded == b'{"data":{"a":"x"}}'
    assert large.encoded is None


def test_an_answer_is_sent_as_it_is_written() -> None:
    result = SharedResult({"a": "x"}, None, encoded=b'{"data":{"a":"x"}}')
    assert answered(result, Media.JSON, MOST).body is result.encoded


@pytest.mark.parametrize("errors", [None, [error("INTERNAL", "a")]])
def test_what_is_too_large_goes_without_its_data_alone(errors: list[GraphQLError] | None) -> None:
    result = ExecutionResult({"a": None, "b": "x" * 1000}, errors, {"cost": {"cost": 2}})
    body = json.loads(written(result, 1000))
    assert (body["data"], body["extensions"]) == (None, {"cost": {"cost": 2}})
    codes = [each["extensions"]["code"] for each in body["errors"]]
    assert codes == ["TOO_LARGE", *(["INTERNAL"] if errors else [])]


def test_errors_that_are_too_large_themselves_are_left_out() -> None:
    errors = [error("INTERNAL", "a", str(number)) for number in range(1000)]
    encoded = written(ExecutionResult({"a": None}, errors), 1000)
    assert len(encoded) <= 1000
    assert [each["extensions"]["code"] for each in json.loads(encoded)["errors"]] == ["TOO_LARGE"]


def test_what_is_kept_takes_no_more_than_it_holds() -> None:
    """The encoder's own text has a block of memory to itself, as large as a page."""
    results = [SharedResult({"a": number}, None) for number in range(100)]
    written(SharedResult({}, None), MOST)
    tracemalloc.start()
    for result in results:
        written(result, MOST)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept / len(results) < 200
