"""Section 5: governance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from databases import ChosenDatabases

from mission_system.core.clock import now
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tools.calls import FinishedCall, add_call
from mission_system.core.tools.spec import ToolStatus

from .conftest import Api, Json, client_of, problem
from .served import MEASURED, Served, served

G = "/api/v1/governance"
HEALTH = {
    *("tool_name", "status", "success_rate", "avg_latency_ms", "total_calls", "recent_errors"),
    *("issues", "recommendations", "checked_at"),
}
STATUSES = {"healthy", "degraded", "unhealthy", "unknown"}


@pytest.fixture(scope="module")
def governed(
    tmp_path_factory: pytest.TempPathFactory, databases: ChosenDatabases
) -> Iterator[Served]:
    """A server whose tools nobody else calls."""
    with served(tmp_path_factory.mktemp("governed")) as server:
        yield server


@pytest.fixture
def api(governed: Served) -> Iterator[Api]:
    with client_of(governed) as http:
        yield Api(governed, http, "ann")


def work(api: Api, name: str, good: int, bad: int = 0) -> None:
    made = api.submit(f"{name} {good} {bad}", context={"capability": "worker"})
    assert made["status"] == "completed", made


def ts(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    assert moment.utcoffset() is not None
    return moment


def health_of(body: Json) -> Json:
    assert set(body) == HEALTH
    assert isinstance(body["tool_name"], str)
    assert body["status"] in STATUSES
    for name in ("success_rate", "avg_latency_ms"):
        assert isinstance(body[name], float | int)
    assert 0 <= body["success_rate"] <= 1
    assert body["success_rate"] == round(body["success_rate"], 4)
    assert body["avg_latency_ms"] == round(body["avg_latency_ms"], 2)
    for name in ("total_calls", "recent_errors"):
        assert type(body[name]) is int
    for name in ("issues", "recommendations"):
        assert all(isinstance(each, str) for each in body[name])
    ts(body["checked_at"])
    return body


def tool(api: Api, name: str, **query: Any) -> Json:
    answer = api.http.get(f"{G}/tools/{name}", params=query)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return health_of(answer.json())


def summary(api: Api) -> Json:
    answer = api.http.get(f"{G}/health")
    assert answer.status_code == 200
    body: Json = answer.json()
    assert set(body) == {
        *("overall_status", "summary", "tools_needing_attention", "slow_executions", "checked_at")
    }
    assert set(body["summary"]) == STATUSES
    assert all(type(number) is int for number in body["summary"].values())
    assert body["overall_status"] in STATUSES
    for each in body["tools_needing_attention"]:
        assert health_of(each)["status"] != "healthy"
    assert len(body["slow_executions"]) <= 10
    for each in body["slow_executions"]:
        assert set(each) == {"tool_name", "execution_time_ms", "recorded_at"}
    ts(body["checked_at"])
    return body


def test_5_tools_that_never_ran_are_unknown_and_need_attention(api: Api) -> None:
    body = summary(api)
    needing = {each["tool_name"] for each in body["tools_needing_attention"]}
    names = {spec.name for spec in api.server.plugin.runtime.tool_registry}
    assert {spec.name for spec in MEASURED} < names
    assert needing == names
    assert body["overall_status"] == "unknown"
    assert body["summary"] == {"healthy": 0, "degraded": 0, "unhealthy": 0, "unknown": len(names)}
    assert body["slow_executions"] == []


@pytest.mark.parametrize(
    ("name", "good", "bad", "rate", "status"),
    [
        ("measured_0", 4, 0, 1.0, "unknown"),
        ("measured_1", 1, 3, 0.25, "unknown"),
        ("measured_2", 5, 0, 1.0, "healthy"),
        ("measured_3", 19, 1, 0.95, "healthy"),
        ("measured_4", 18, 2, 0.9, "degraded"),
        ("measured_5", 4, 1, 0.8, "degraded"),
        ("measured_6", 11, 3, 0.7857, "unhealthy"),
        ("measured_7", 1, 4, 0.2, "unhealthy"),
    ],
)
def test_5_a_tool_is_judged_by_its_calls(
    api: Api, name: str, good: int, bad: int, rate: float, status: str
) -> None:
    work(api, name, good, bad)
    found = tool(api, name)
    assert (found["tool_name"], found["status"]) == (name, status)
    assert (found["total_calls"], found["recent_errors"]) == (good + bad, bad)
    assert found["success_rate"] == rate
    assert 0 <= found["avg_latency_ms"] < 2000
    assert bool(found["issues"]) is (status != "healthy")


def called(server: Served, name: str, *calls: tuple[str, int], hours_ago: float = 0) -> None:
    """Calls of a tool as they are stored: how each ended, and after how many milliseconds."""
    at = now() - int(hours_ago * 3_600_000_000)

    async def unit(tx: Transaction) -> None:
        for status, milliseconds in calls:
            await add_call(tx, FinishedCall(name, ToolStatus(status), at, milliseconds * 1000))

    server.run(server.plugin.runtime.persistence.write(unit))


@pytest.fixture
def another(tmp_path: Path, databases: ChosenDatabases) -> Iterator[Api]:
    """A server whose tools this test alone calls."""
    with served(tmp_path) as server, client_of(server) as http:
        yield Api(server, http, "ann")


def test_5_a_tool_is_judged_by_its_latency_and_timeouts_are_errors(another: Api) -> None:
    for milliseconds, status in (
        (2000, "healthy"),
        (2001, "degraded"),
        (5000, "degraded"),
        (5001, "unhealthy"),
    ):
        called(another.server, f"t{milliseconds}", *[("success", milliseconds)] * 5)
        found = tool(another, f"t{milliseconds}")
        assert (found["status"], found["avg_latency_ms"]) == (status, milliseconds)
    called(another.server, "late", *[("success", 1)] * 8, ("error", 1), ("timeout", 1))
    found = tool(another, "late")
    assert (found["recent_errors"], found["success_rate"]) == (2, 0.8)


def test_5_the_ten_slowest_calls_are_listed_slowest_first(another: Api) -> None:
    called(another.server, "quick", ("success", 4999))
    called(another.server, "slow", *[("success", 5000 + number) for number in (0, 5, 3)])
    listed = summary(another)["slow_executions"]
    assert [each["execution_time_ms"] for each in listed] == [5005, 5003, 5000]
    called(another.server, "slow", *[("timeout", 6000 + number) for number in range(9)])
    listed = summary(another)["slow_executions"]
    expected = [*range(6008, 5999, -1), 5005]
    assert [each["execution_time_ms"] for each in listed] == expected
    assert {each["tool_name"] for each in listed} == {"slow"}
    assert all(ts(each["recorded_at"]) for each in listed)


def test_5_five_errors_open_the_circuit(another: Api) -> None:
    for bad, state in ((4, "closed"), (1, "open")):
        work(another, "measured_0", 0, bad)
        tools = page(another, "application/json").json()["tools"]
        [found] = [each for each in tools if each["tool_name"] == "measured_0"]
        assert found["circuit_state"] == state


def test_5_each_tool_is_counted_once_and_the_worst_is_the_overall_status(api: Api) -> None:
    work(api, "measured_8", 5)
    work(api, "measured_9", 1, 4)
    body = summary(api)
    assert body["overall_status"] == "unhealthy"
    needing = {each["tool_name"]: each["status"] for each in body["tools_needing_attention"]}
    assert needing["measured_9"] == "unhealthy"
    assert "measured_8" not in needing
    names = [spec.name for spec in api.server.plugin.runtime.tool_registry]
    assert sum(body["summary"].values()) == len(names)
    assert body["summary"]["healthy"] == len(names) - len(needing)


@pytest.mark.parametrize(
    "name", ["nobody", "x" * 5000, "%00", "%22%3E%3Cscript%3E", "ü", "%ff", " ", "look_up%00"]
)
def test_5_a_tool_nobody_knows_is_200_and_unknown(api: Api, name: str) -> None:
    found = tool(api, name)
    assert (found["status"], found["total_calls"], found["recent_errors"]) == ("unknown", 0, 0)
    assert found["issues"]


def test_5_calls_before_the_window_do_not_count(another: Api) -> None:
    for name, hours in (("fresh", 0.5), ("older", 2), ("old", 25)):
        called(another.server, name, *[("error", 6000)] * 5, hours_ago=hours)
    assert [tool(another, name)["total_calls"] for name in ("fresh", "older", "old")] == [5, 0, 0]
    assert tool(another, "older", period_hours=3)["total_calls"] == 5
    assert tool(another, "old", period_hours=24)["total_calls"] == 0
    assert tool(another, "old", period_hours=8760)["total_calls"] == 5
    body = summary(another)
    assert body["summary"]["unhealthy"] == 2
    assert {each["tool_name"] for each in body["slow_executions"]} == {"fresh", "older"}


@pytest.mark.parametrize(
    ("value", "type"),
    [
        ("0", "greater_than_equal"),
        ("-1", "greater_than_equal"),
        ("8761", "less_than_equal"),
        ("9" * 30, "less_than_equal"),
        ("x", "int_parsing"),
        ("", "int_parsing"),
        ("1.5", "int_parsing"),
    ],
)
def test_5_the_window_is_checked(api: Api, value: str, type: str) -> None:
    answer = api.http.get(f"{G}/tools/measured_1?period_hours={value}")
    assert problem(answer) == (type, ["query", "period_hours"])
    for hours in (1, 8760):
        tool(api, "measured_1", period_hours=hours)


def page(api: Api, accept: str | None = "text/html", query: str = "") -> httpx.Response:
    headers = {} if accept is None else {"Accept": accept}
    answer = api.http.get(f"{G}/dashboard{query}", headers=headers)
    assert answer.status_code == 200
    return answer


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "text/html",
        "text/html,application/xhtml+xml,application/json;q=0.9",
        "image/png",
        "",
    ],
)
def test_5_the_dashboard_is_a_page_for_people(api: Api, accept: str | None) -> None:
    answer = page(api, accept)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text.lstrip().lower().startswith("<!doctype html>")


def test_5_the_page_shows_what_is_agreed(api: Api) -> None:
    work(api, "measured_2", 5)
    text = page(api).text
    body = summary(api)
    assert "Governance Dashboard" in text
    assert f"System Status: {body['overall_status'].upper()}" in text
    for number in body["summary"].values():
        assert str(number) in text
    assert "Memory Layer Status" in text
    for layer in range(1, 8):
        assert f"L{layer}" in text
    assert "Circuit Breaker" in text
    assert "ENABLED" in text or "DISABLED" in text
    for spec in api.server.plugin.runtime.tool_registry:
        assert spec.name in text
    assert "onstitutional" in text
    assert "lignment" in text
    assert "slow" in text.lower()


def test_5_the_page_needs_no_scripts_of_others_and_escapes_values(api: Api) -> None:
    for query in (
        "",
        "?user_id=%3Cscript%3Ealert(1)%3C/script%3E",
        "?user_id=" + "x" * 5000,
        "?user_id=",
    ):
        answer = page(api, query=query)
        for foreign in ("http://", "https://", "<script>alert", "<b>fail</b>"):
            assert foreign not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_5_programs_get_the_dashboard_as_json(api: Api) -> None:
    for accept in (
        "application/json",
        "application/json;q=0.5, */*;q=0.1",
        "text/plain, application/json",
    ):
        answer = page(api, accept)
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert set(body) == {"tools", "agents", "memory_layers", "config"}
        assert set(body["config"]) == {"llm_provider", "database_backend", "log_level"}
    for each in body["tools"]:
        assert set(each) == {
            *("tool_name", "status", "success_rate", "avg_latency_ms", "circuit_state"),
            "last_used",
        }
        assert each["status"] in STATUSES
    for each in body["agents"]:
        assert set(each) == {"name", "description", "status", "layer"}
    for each in body["memory_layers"]:
        assert set(each) == {"name", "description", "status", "backend"}
    names = [each["name"] for each in body["memory_layers"]]
    assert [name[:2] for name in names] == [f"L{layer}" for layer in range(1, 8)]
    assert set(body["config"]) == {"llm_provider", "database_backend", "log_level"}
    assert body["config"]["llm_provider"] == "mock"
    tools = {each["tool_name"]: each for each in body["tools"]}
    assert tools["look_up"]["last_used"] is None
    ts(tools["measured_2"]["last_used"])


@pytest.mark.parametrize(
    ("accepts", "media"),
    [
        (["Application/JSON"], "application/json"),
        (["text/plain", "application/json"], "application/json"),
        (["application/json ; q=0.5", "*/*"], "application/json"),
        (["application/json", "text/html;q=0"], "application/json"),
        (["application/json", "text/html; q=0.000"], "application/json"),
        (["application/json;q=0.001"], "application/json"),
        (["application/json", "TEXT/HTML"], "text/html; charset=utf-8"),
        (["application/json", "text/html"], "text/html; charset=utf-8"),
        (["application/json;q=0"], "text/html; charset=utf-8"),
        (["*/*, application/json; Q=0"], "text/html; charset=utf-8"),
        (["application/jsonl"], "text/html; charset=utf-8"),
        (["application/json-seq, x-application/json"], "text/html; charset=utf-8"),
        (['text/plain; x="application/json"'], "text/html; charset=utf-8"),
    ],
)
def test_5_what_a_header_names_is_read_from_all_of_it(
    server: Served, accepts: list[str], media: str
) -> None:
    answer = server.raw("GET", f"{G}/dashboard", *(f"Accept: {each}" for each in accepts))
    assert (answer.status, answer.header("content-type")) == (200, media)


def test_5_the_dashboard_varies_with_what_is_accepted(api: Api) -> None:
    for accept in ("text/html", "application/json"):
        assert "accept" in page(api, accept).headers["vary"].lower()
