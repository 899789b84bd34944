"""Everything that REST can do, GraphQL can do: each route and its operation, asked and compared."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from mission_system import tool
from mission_system.core.node import Node
from mission_system.core.settings import Settings
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.web.app import create_app
from mission_system.web.lifespan import lifespan

Json = dict[str, Any]
API = "/api/v1"
CHAT = f"{API}/chat"

SESSION = "sessionId title messageCount createdAt lastActivity deletedAt archivedAt"
MESSAGE = "messageId sessionId role content createdAt deletedAt editedAt originalContent"
PROCESS = (
    "pid requestId sessionId state outcome reason error reply priority stage createdAt startedAt"
    " completedAt quota { maxLlmCalls maxToolCalls maxAgentHops timeoutSeconds }"
    " usage { llmCalls toolCalls agentHops tokensIn tokensOut elapsedSeconds }"
    " interrupts { interruptId kind question }"
)
HEALTH = "status version components { name status message }"


@dataclass(frozen=True)
class Both:
    """One server, asked by Ann over either surface."""

    http: httpx.AsyncClient
    node: Node

    async def call(self, method: str, path: str, body: Json | None = None, **query: Any) -> Any:
        """What REST answers, which must be a success."""
        given: Json = {} if body is None else {"json": body}
        answer = await self.http.request(method, path, params={"user_id": "ann"} | query, **given)
        assert answer.is_success, answer.text
        media = answer.headers.get("content-type", "")
        return answer.json() if "json" in media else answer.text

    async def ask(self, query: str, **variables: Any) -> Any:
        """What the first field of a GraphQL operation answers, which must be a success."""
        answer = await self.http.post(
            "/graphql",
            json={"query": query, "variables": variables},
            headers={"X-Mission-User": "ann"},
        )
        body = answer.json()
        assert "errors" not in body, body
        return next(iter(body["data"].values()))

    async def change(self, name: str, fields: str, **input: Any) -> Json:
        """The payload of a GraphQL mutation."""
        kind = f"{name[0].upper()}{name[1:]}Input"
        payload: Json = await self.ask(
            f"mutation Change($input: {kind}!) {{ {name}(input: $input) {{ __typename"
            f" {fields} ... on Error {{ message }} }} }}",
            input=input,
        )
        assert payload["__typename"].endswith("Payload"), payload
        return payload

    async def session(self, title: str | None = None) -> str:
        made = await self.call("POST", f"{CHAT}/sessions", {"user_id": "ann", "title": title})
        return cast(str, made["session_id"])

    async def send(self, text: str, session: str | None = None) -> Json:
        sent = await self.call("POST", f"{CHAT}/messages", {"message": text, "session_id": session})
        return cast(Json, sent)

    async def listed(self, session: str) -> list[Json]:
        return cast(list[Json], await self.call("GET", f"{CHAT}/sessions/{session}/messages"))


@tool
def look(at: str) -> str:
    """Look at something."""
    return at


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Starlette]:
    app = create_app(Settings(data=tmp_path, shutdown_seconds=0), [])
    async with lifespan(app):
        node = cast(Node, app.state.node)
        assert isinstance(node.runtime.tool_registry, ToolCatalog)
        node.runtime.tool_registry.register(look)
        yield app


@pytest.fixture
async def both(app: Starlette) -> AsyncIterator[Both]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:8000", timeout=60
    ) as http:
        yield Both(http, cast(Node, app.state.node))


def snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def same(rest: Json, graph: Json, *but: str, **renamed: str) -> None:
    """Every field of REST's is there and says the same, but those that differ by nature."""
    mine = {renamed.get(snake(name), snake(name)): value for name, value in graph.items()}
    compared = rest.keys() - {*but, "user_id", "checked_at"}
    assert compared
    assert compared - mine.keys() == set()
    for name in compared:
        assert plain(rest[name]) == plain(mine[name]), (name, rest[name], mine[name])


def plain(value: Any) -> Any:
    """Moments compared as moments, and names whatever their case."""
    if isinstance(value, dict):
        return {snake(name): plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, float) and value == int(value):
        return int(value)
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value.lower() if value.isupper() else value
    return value


def alike(rest: list[Json], graph: list[Json], *but: str) -> None:
    assert len(rest) == len(graph) > 0
    for one, other in zip(rest, graph, strict=True):
        same(one, other, *but)


# Sessions


async def list_sessions(both: Both) -> None:
    for title in ("first", None, "third"):
        await both.send("hello there", await both.session(title))
    gone = await both.session("gone")
    await both.call("DELETE", f"{CHAT}/sessions/{gone}")
    fields = f"nodes {{ {SESSION.replace(' title', ' title: listedTitle')} }}"
    cases: tuple[tuple[Json, str], ...] = (
        ({}, ""),
        ({"filter": "today"}, "(active: TODAY)"),
        ({"filter": "week"}, "(active: WEEK)"),
        ({"filter": "month"}, "(active: MONTH)"),
        ({"limit": 2}, "(first: 2)"),
        ({"include_deleted": True}, "(includeDeleted: true)"),
    )
    for query, arguments in cases:
        rest = await both.call("GET", f"{CHAT}/sessions", **query)
        graph = await both.ask(f"{{ sessions{arguments} {{ {fields} pageInfo {{ endCursor }} }} }}")
        alike(rest, graph["nodes"])
    rest = await both.call("GET", f"{CHAT}/sessions", limit=2, offset=1)
    first = await both.ask("{ sessions(first: 1) { pageInfo { endCursor } } }")
    after = first["pageInfo"]["endCursor"]
    graph = await both.ask(
        f"query S($a: String) {{ sessions(first: 2, after: $a) {{ {fields} }} }}", a=after
    )
    alike(rest, graph["nodes"])


async def create_session(both: Both) -> None:
    rest = await both.call("POST", f"{CHAT}/sessions", {"user_id": "ann", "title": "new"})
    graph = await both.change(
        "createSession", f"... on CreateSessionPayload {{ session {{ {SESSION} }} }}", title="new"
    )
    same(rest, graph["session"], "session_id", "created_at", "last_activity")


async def get_session(both: Both) -> None:
    session = await both.session("one")
    await both.send("hi", session)
    for _ in range(2):
        rest = await both.call("GET", f"{CHAT}/sessions/{session}")
        graph = await both.ask(
            f"query S($id: ID!) {{ session(id: $id) {{ {SESSION} }} }}", id=session
        )
        same(rest, graph)
        await both.call("DELETE", f"{CHAT}/sessions/{session}")


async def update_session(both: Both) -> None:
    fields = f"... on UpdateSessionPayload {{ session {{ {SESSION} }} }}"
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).isoformat()
    mine, theirs = await both.session("a"), await both.session("a")
    but = ("session_id", "created_at", "last_activity")
    for body, name, given in (
        ({"title": "b"}, "updateSession", {"title": "b"}),
        ({}, "updateSession", {}),
        ({"archived_at": moment}, "archiveSession", {"archivedAt": moment}),
        ({"archived_at": None}, "archiveSession", {"archived": False}),
    ):
        rest = await both.call("PATCH", f"{CHAT}/sessions/{theirs}", body)
        graph = await both.change(name, fields, sessionId=mine, **given)
        same(rest, graph["session"], *but)


async def delete_session(both: Both) -> None:
    for soft in (True, False):
        rest, graph = await both.session(), await both.session()
        await both.call("DELETE", f"{CHAT}/sessions/{rest}", soft=soft)
        fields = "... on DeleteSessionPayload { soft }"
        payload = await both.change("deleteSession", fields, sessionId=graph, soft=soft)
        assert payload["soft"] is soft
        states = [
            (await both.http.get(f"{CHAT}/sessions/{id}", params={"user_id": "ann"})).status_code
            for id in (rest, graph)
        ]
        assert states == [200 if soft else 404] * 2


async def list_messages(both: Both) -> None:
    session = await both.session()
    for text in ("one", "two", "three"):
        await both.send(text, session)
    await both.call("DELETE", f"{CHAT}/messages/{(await both.listed(session))[0]['message_id']}")
    cases: tuple[tuple[Json, str], ...] = (
        ({}, ""),
        ({"limit": 2}, "(first: 2)"),
        ({"include_deleted": True}, "(includeDeleted: true)"),
    )
    for query, arguments in cases:
        rest = await both.call("GET", f"{CHAT}/sessions/{session}/messages", **query)
        text = f"query M($id: ID!) {{ session(id: $id) {{ messages{arguments} {{"
        graph = await both.ask(f"{text} nodes {{ {MESSAGE} }} }} }} }}", id=session)
        alike(rest, graph["messages"]["nodes"])


async def export_session(both: Both) -> None:
    session = await both.session("An export")
    await both.send("hello", session)
    fields = "... on ExportSessionPayload { filename mediaType content }"
    for form in ("json", "txt", "md"):
        answer = await both.http.get(
            f"{CHAT}/sessions/{session}/export", params={"user_id": "ann", "format": form}
        )
        graph = await both.change("exportSession", fields, sessionId=session, format=form.upper())
        assert graph["content"] == answer.text
        assert graph["mediaType"] == answer.headers["content-type"]
        assert graph["filename"] in answer.headers["content-disposition"]


# Messages and requests


def outcome(process: Json, *, asking: str | None = None) -> Json:
    """What REST says of a process, from what GraphQL says of it. `asking` is the status of one
    that asks, where it is not told by the kind of the question."""
    asked = {each["kind"]: each for each in process["interrupts"]}
    clarification, confirmation = asked.get("CLARIFICATION"), asked.get("CONFIRMATION")
    said = process["reply"] or process["error"]
    status = {"COMPLETED": "completed", "FAILED": "failed"}.get(process["outcome"])
    needed = "clarification_needed" if clarification else "confirmation_needed"
    return {
        "request_id": process["requestId"],
        "session_id": process["sessionId"],
        "status": status or asking or needed,
        "response": said,
        "response_text": said,
        "clarification_needed": clarification is not None,
        "clarification_question": clarification and clarification["question"],
        "thread_id": clarification and process["pid"],
        "confirmation_needed": confirmation is not None,
        "confirmation_message": confirmation and confirmation["question"],
        "confirmation_id": confirmation and confirmation["interruptId"],
    }


OWN = ("request_id", "session_id", "thread_id", "confirmation_id")
"""What two requests do not share."""

TEXTS = ("hello", "/fail", "/clarify", "/confirm")


async def send_message(both: Both) -> None:
    for text in TEXTS:
        asking = "processing" if text == "/clarify" else "completed"
        rest = await both.send(text)
        graph = await both.change(
            "sendMessage", f"... on SendMessagePayload {{ process {{ {PROCESS} }} }}", text=text
        )
        same(rest, outcome(graph["process"], asking=asking), *OWN)
        again = await both.ask(
            f"query P($id: ID!) {{ process(id: $id) {{ {PROCESS} }} }}", id=rest["request_id"]
        )
        same(rest, outcome(again, asking=asking))


async def submit_request(both: Both) -> None:
    fields = f"... on SubmitRequestPayload {{ process {{ {PROCESS} }} }}"
    for text in TEXTS:
        common: Json = {"context": {"capability": "assistant", "colour": "red"}}
        body = common | {"user_message": text, "user_id": "ann", "session_id": "a"}
        rest = await both.call("POST", f"{API}/requests", body | {"conversation_history": [{}]})
        graph = await both.change(
            "submitRequest", fields, text=text, sessionId="b", conversationHistory=[{}], **common
        )
        same(rest, outcome(graph["process"]), *OWN)
    named = {"capability": "assistant", "request_id": "mine"}
    body = {"user_message": "hi", "user_id": "ann", "context": named}
    assert (await both.call("POST", f"{API}/requests", body))["request_id"] == "mine"
    refused = await both.ask(
        'mutation { submitRequest(input: {text: "hi", requestId: "mine"}) { __typename } }'
    )
    assert refused == {"__typename": "Conflict"}
    graph = await both.change("submitRequest", fields, text="hi")
    assert graph["process"]["sessionId"] == "session_ann"


async def answer(both: Both, path: str, text: str, name: str, rest: Json, graph: Json) -> None:
    fields = f"... on AnswerPayload {{ process {{ {PROCESS} }} reply {{ content }} }}"
    asked = [await both.send(text), await both.send(text)]
    key = asked[1]["confirmation_id"]
    if key is None:
        query = "query P($id: ID!) { process(id: $id) { interrupts { interruptId } } }"
        process = await both.ask(query, id=asked[1]["thread_id"])
        key = process["interrupts"][0]["interruptId"]
    told = await both.call("POST", path, rest | _thread(asked[0]) | {"user_id": "ann"})
    payload = await both.change(name, fields, interruptId=key, **graph)
    same(told, outcome(payload["process"]), *OWN)
    assert payload["reply"]["content"] == told["response"]


def _thread(asked: Json) -> Json:
    return {"thread_id": asked["thread_id"], "confirmation_id": asked["confirmation_id"]}


async def answer_clarification(both: Both) -> None:
    await answer(
        both, f"{CHAT}/clarifications", "/clarify", "answerClarification",
        {"clarification": "billing"}, {"answer": "billing"},
    )  # fmt: skip


async def answer_confirmation(both: Both) -> None:
    for word, approve in (("yes", True), ("no", False)):
        await answer(
            both, f"{API}/confirmations", "/confirm", "answerConfirmation",
            {"user_response": word}, {"approve": approve},
        )  # fmt: skip


async def request_status(both: Both) -> None:
    for text in TEXTS:
        id = (await both.send(text))["request_id"]
        rest = await both.call("GET", f"{API}/requests/{id}/status")
        graph = await both.ask(f"query P($id: ID!) {{ process(id: $id) {{ {PROCESS} }} }}", id=id)
        asked = graph["interrupts"]
        graph["pending_interrupt"] = asked[0]["kind"] if asked else None
        same(rest, graph, stage="current_stage", usage="resource_usage")
        assert len(rest.keys() - {snake(name) for name in graph}) == 2  # the two with other names


async def edit_message(both: Both) -> None:
    session = await both.session()
    await both.send("one", session)
    await both.send("two", session)
    first, _, second, _ = await both.listed(session)
    rest = await both.call("PATCH", f"{CHAT}/messages/{first['message_id']}", {"content": "new"})
    graph = await both.change(
        "editMessage", f"... on EditMessagePayload {{ userMessage {{ {MESSAGE} }} }}",
        messageId=str(second["message_id"]), content="new",
    )  # fmt: skip
    same(rest, graph["userMessage"], "message_id", "created_at", "edited_at", "original_content")
    assert graph["userMessage"]["originalContent"] == "two"


async def delete_message(both: Both) -> None:
    session = await both.session()
    for text in ("one", "two"):
        await both.send(text, session)
    ids = [message["message_id"] for message in await both.listed(session)]
    for soft, rest, graph in ((True, *ids[:2]), (False, *ids[2:])):
        await both.call("DELETE", f"{CHAT}/messages/{rest}", soft=soft)
        fields = "... on DeleteMessagePayload { messageId soft }"
        payload = await both.change("deleteMessage", fields, messageId=str(graph), soft=soft)
        assert (payload["messageId"], payload["soft"]) == (graph, soft)
    assert await both.listed(session) == []
    kept = await both.call("GET", f"{CHAT}/sessions/{session}/messages", include_deleted=True)
    assert [message["message_id"] for message in kept] == ids[:2]


async def search(both: Both) -> None:
    await both.send("find 100% of this", await both.session("titled"))
    await both.send("and 100% of that")
    for size in (50, 1):
        rest = await both.call("GET", f"{CHAT}/search", query="100% OF", limit=size)
        graph = await both.ask(
            'query S($n: Int) { search(query: "100% OF", first: $n) {'
            f" nodes {{ sessionTitle message {{ {MESSAGE} }} }} }} }}",
            n=size,
        )
        alike(rest, [{**each, **each["message"]} for each in graph["nodes"]])


# The server


async def metrics(both: Both) -> None:
    await both.send("hello")
    await both.send("/clarify")
    rest = await both.call("GET", f"{API}/metrics")
    graph = await both.ask(
        "{ metrics { totalProcesses activeProcesses processesByState { state count }"
        " systemLlmCalls: llmCalls systemToolCalls: toolCalls systemTokensIn: tokensIn"
        " systemTokensOut: tokensOut } }"
    )
    graph["processesByState"] = {
        each["state"].lower(): each["count"] for each in graph["processesByState"]
    }
    same(rest, graph)
    assert rest.keys() == {snake(name) for name in graph}


TOOL_HEALTH = (
    "tool status successRate avgLatencyMs totalCalls recentErrors issues recommendations lastUsed"
)


async def governance_health(both: Both) -> None:
    for _ in range(5):
        await both.node.runtime.tool_executor.execute("look", {"at": "x"})
    rest = await both.call("GET", f"{API}/governance/health")
    graph = await both.ask(
        "{ governance { summary { overallStatus healthy degraded unhealthy unknown }"
        f" tools {{ {TOOL_HEALTH} }} slowExecutions {{ tool executionTimeMs recordedAt }} }} }}"
    )
    lists = ("summary", "tools_needing_attention", "slow_executions")
    same(rest, graph["summary"], *lists)
    same(rest["summary"], graph["summary"])
    ill = [each for each in graph["tools"] if each["status"] != "HEALTHY"]
    assert [each["tool"] for each in ill] == [
        each["tool_name"] for each in rest["tools_needing_attention"]
    ]
    assert len(graph["tools"]) == sum(rest["summary"].values())
    assert len(graph["slowExecutions"]) == len(rest["slow_executions"])


async def tool_health(both: Both) -> None:
    for _ in range(6):
        await both.node.runtime.tool_executor.execute("look", {"at": "x"})
    for hours in (1, 24):
        rest = await both.call("GET", f"{API}/governance/tools/look", period_hours=hours)
        assert rest["total_calls"] == 6
        graph = await both.ask(
            f'query T($h: Int!) {{ tool(id: "look") {{ health(hours: $h) {{ {TOOL_HEALTH} }} }} }}',
            h=hours,
        )
        health = graph["health"] | {"avgLatencyMs": round(graph["health"]["avgLatencyMs"], 2)}
        same(rest, health, tool="tool_name")


async def dashboard(both: Both) -> None:
    answer = await both.http.get(
        f"{API}/governance/dashboard", headers={"Accept": "application/json"}
    )
    rest = answer.json()
    graph = await both.ask(
        "{ governance { tools { tool status successRate avgLatencyMs lastUsed }"
        " breakers { tool state } memoryLayers { layer }"
        " setup { llmProvider databaseBackend logLevel } } }"
    )
    states = {each["tool"]: each["state"].lower() for each in graph["breakers"]}
    tools = [
        {
            **each,
            "toolName": each["tool"],
            "circuitState": states[each["tool"]],
            "avgLatencyMs": round(each["avgLatencyMs"], 2),
        }
        for each in graph["tools"]
    ]
    alike(rest["tools"], tools)
    layers = [each["layer"] for each in graph["memoryLayers"]]
    assert layers == [each["name"] for each in rest["memory_layers"]]
    same(rest["config"], graph["setup"])
    assert rest["config"].keys() == {snake(name) for name in graph["setup"]}
    capabilities = await both.ask("{ capabilities { name description } }")
    alike(rest["agents"], capabilities, "status", "layer")  # the same for all of them


async def liveness(both: Both) -> None:
    await probe(both, "/health", "health")


async def readiness(both: Both) -> None:
    await probe(both, "/ready", "readiness")


async def probe(both: Both, path: str, field: str) -> None:
    rest = await both.call("GET", path)
    graph = await both.ask(f"{{ {field} {{ {HEALTH} }} }}")
    assert graph["status"].lower() == rest["status"]
    assert graph["version"] == rest["version"]
    shown = {each["name"]: each["status"].lower() for each in graph["components"]}
    assert shown == {name: each["status"] for name, each in rest["components"].items()}


TABLE: dict[str, Callable[[Both], Awaitable[None]]] = {
    f"GET {CHAT}/sessions": list_sessions,
    f"POST {CHAT}/sessions": create_session,
    f"GET {CHAT}/sessions/{{session_id}}": get_session,
    f"PATCH {CHAT}/sessions/{{session_id}}": update_session,
    f"DELETE {CHAT}/sessions/{{session_id}}": delete_session,
    f"GET {CHAT}/sessions/{{session_id}}/messages": list_messages,
    f"GET {CHAT}/sessions/{{session_id}}/export": export_session,
    f"POST {CHAT}/messages": send_message,
    f"PATCH {CHAT}/messages/{{message_id}}": edit_message,
    f"DELETE {CHAT}/messages/{{message_id}}": delete_message,
    f"GET {CHAT}/search": search,
    f"POST {CHAT}/clarifications": answer_clarification,
    f"POST {API}/requests": submit_request,
    f"POST {API}/confirmations": answer_confirmation,
    f"GET {API}/requests/{{pid}}/status": request_status,
    f"GET {API}/metrics": metrics,
    f"GET {API}/governance/health": governance_health,
    f"GET {API}/governance/tools/{{tool_name}}": tool_health,
    f"GET {API}/governance/dashboard": dashboard,
    "GET /health": liveness,
    "GET /ready": readiness,
}
"""Each route, and what asks it and its operation and compares the answers."""

WITHOUT = {
    "GET /": "says where the other routes are",
    "GET /docs": "describes REST",
    "GET /openapi.json": "describes REST",
    "GET /metrics": "is for Prometheus, which speaks no GraphQL",
    "* /graphql": "is GraphQL",
}
"""Routes that need no operation, and why."""


def routes(app: Starlette) -> set[str]:
    return {
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or {"*"}) - {"HEAD"}
    }


def test_every_route_is_in_the_table(app: Starlette) -> None:
    assert routes(app) == TABLE.keys() | WITHOUT.keys()


@pytest.mark.parametrize("route", TABLE)
async def test_both_surfaces_do_and_say_the_same(both: Both, route: str) -> None:
    await TABLE[route](both)
