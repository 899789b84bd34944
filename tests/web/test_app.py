import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from mission_system import Mission, OrchestratorSpec, PluginContext, hookimpl
from mission_system.core.health.result import ComponentHealth, ComponentStatus
from mission_system.core.identity import LOCAL
from mission_system.core.llm.roles import RoleSettings
from mission_system.core.runtime import MissionRuntime
from mission_system.core.settings import Settings
from mission_system.core.storage.lease import Lease, LeaseHeld
from mission_system.core.tower.process import Envelope, ProcessState
from mission_system.web.app import create_app
from mission_system.web.guard import UnsafeSettings
from mission_system.web.lifespan import lifespan
from mission_system.web.state import AppState

PROBE_KEYS = {"status", "timestamp", "uptime_seconds", "version", "components"}


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(data=folder, shutdown_seconds=changes.pop("shutdown_seconds", 0), **changes)


def state(app: Starlette) -> AppState:
    assert isinstance(app.state, AppState)
    return app.state


def client(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000", timeout=10
    )


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Starlette]:
    app = create_app(settings(tmp_path))
    async with lifespan(app):
        yield app


# probes


async def test_the_root_has_the_keys_of_the_contract(app: Starlette) -> None:
    body = (await client(app).get("/")).json()
    assert set(body) == {
        *("service", "version", "description", "health", "ready"),
        *("api", "websocket", "api_docs", "governance"),
    }
    assert (body["health"], body["ready"], body["websocket"]) == ("/health", "/ready", "/ws")
    assert body["api"] == {
        "requests": "/api/v1/requests",
        "request_status": "/api/v1/requests/{pid}/status",
        "metrics": "/api/v1/metrics",
    }


async def test_a_serving_server_is_alive_and_ready(app: Starlette) -> None:
    health = await client(app).get("/health")
    ready = await client(app).get("/ready")
    assert (health.status_code, ready.status_code) == (200, 200)
    assert set(health.json()) == set(ready.json()) == PROBE_KEYS
    assert set(health.json()["components"]) == {"api"}
    components = ready.json()["components"]
    assert set(components) == {
        *("database", "models", "schema", "writer", "hub", "dispatcher", "plugins", "capability")
    }
    assert {each["status"] for each in components.values()} == {"up"}
    assert components["schema"]["message"].startswith("0001")


async def test_before_the_start_probes_say_so(tmp_path: Path) -> None:
    app = create_app(settings(tmp_path))
    for path, status in (("/health", 500), ("/ready", 503)):
        answer = await client(app).get(path)
        assert answer.status_code == status
        assert answer.json() == {"status": "unhealthy", "message": "the server is not started"}


async def test_a_draining_server_is_alive_but_not_ready(app: Starlette) -> None:
    state(app).phase = "draining"
    assert (await client(app).get("/health")).status_code == 200
    ready = await client(app).get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "unhealthy")


async def test_a_database_that_is_gone_makes_the_server_unready_not_dead(app: Starlette) -> None:
    await state(app).node.database.close()
    assert (await client(app).get("/health")).status_code == 200
    ready = await client(app).get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "unhealthy")
    assert ready.json()["components"]["database"]["status"] == "down"


async def test_a_plugin_that_failed_degrades_readiness(tmp_path: Path) -> None:
    module = ModuleType("broken")

    @hookimpl
    def register_tools() -> list[Any]:
        raise RuntimeError("no")

    module.register_tools = register_tools  # type: ignore[attr-defined]
    app = create_app(settings(tmp_path), [module])
    async with lifespan(app):
        ready = await client(app).get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["components"]["plugins"]["message"] == "not served: broken"


async def test_a_flood_of_probes_costs_a_round_of_checks_a_second(app: Starlette) -> None:
    node = state(app).node
    rounds = 0

    async def counted() -> ComponentHealth:
        nonlocal rounds
        rounds += 1
        return ComponentHealth(status=ComponentStatus.UP)

    node.health.register("counted", counted)
    http = client(app)
    began = time.monotonic()

    async def probe(path: str) -> int:
        return (await http.get(path)).status_code

    async def work() -> str | None:
        done = await node.tower.submit_request(Envelope(caller=LOCAL, message="hello"), wait=60)
        return done.process.reply if done.process else None

    async with asyncio.TaskGroup() as group:
        probes = [group.create_task(probe(path)) for path in ("/ready", "/health") * 500]
        works = [group.create_task(work()) for _ in range(20)]
    assert {task.result() for task in probes} == {200}
    assert all("hello" in str(task.result()) for task in works)
    assert rounds <= time.monotonic() - began + 1


async def test_an_unknown_provider_degrades_readiness(tmp_path: Path) -> None:
    app = create_app(settings(tmp_path, llm_provider="acme"))
    async with lifespan(app):
        ready = await client(app).get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")


# surfaces


async def test_unknown_routes_and_methods_are_told_in_json(app: Starlette) -> None:
    assert (await client(app).get("/nowhere")).json() == {"detail": "Not Found"}
    assert (await client(app).get("/static/graphiql/../index.html")).status_code == 404
    refused = await client(app).post("/ready")
    assert (refused.status_code, refused.json()) == (405, {"detail": "Method Not Allowed"})


async def test_graphql_answers(app: Starlette) -> None:
    answer = await client(app).post("/graphql", json={"query": "{ viewer { userId } }"})
    assert answer.json() == {"data": {"viewer": {"userId": "local"}}}


async def test_the_page_of_graphiql_loads_from_here_alone(app: Starlette) -> None:
    page = await client(app).get("/graphql", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "://" not in page.text.replace("http://www.w3.org", "")
    script = await client(app).get("/static/graphiql/graphiql.min.js")
    assert (script.status_code, len(script.content) > 100_000) == (200, True)


async def test_a_foreign_page_reaches_nothing(app: Starlette) -> None:
    for path in ("/", "/graphql", "/static/graphiql/boot.js"):
        answer = await client(app).get(path, headers={"host": "evil.example"})
        assert answer.status_code == 403


async def test_a_body_above_the_limit_is_refused_by_graphql_too(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b" " * 1024

    app = create_app(settings(tmp_path, max_body_bytes=2048))
    async with lifespan(app):
        answer = await client(app).post(
            "/graphql", content=pieces(), headers={"content-type": "application/json"}
        )
    assert (answer.status_code, set(answer.json())) == (413, {"errors"})


async def test_allowed_origins_are_told_so_by_cors(tmp_path: Path) -> None:
    app = create_app(settings(tmp_path, allowed_origins=("https://app.example",)))
    preflight = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-mission-user",
    }
    async with lifespan(app):
        allowed = await client(app).options("/graphql", headers=preflight)
        refused = await client(app).options(
            "/graphql", headers={**preflight, "origin": "https://evil.example"}
        )
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


async def test_a_page_of_an_allowed_origin_reads_what_it_is_refused(tmp_path: Path) -> None:
    origins = ("https://app.example",)
    app = create_app(settings(tmp_path, allowed_origins=origins, max_body_bytes=2048))
    headers = {"origin": origins[0], "content-type": "application/json"}
    preflight = {"origin": origins[0], "access-control-request-method": "POST"}
    async with lifespan(app), client(app) as http:
        large = await http.post("/graphql", content=b"x" * 4096, headers=headers)
        app.state.phase = "standby"
        asked = await http.options("/graphql", headers=preflight)
        early = await http.post("/graphql", json={"query": "{ __typename }"}, headers=headers)
        app.state.phase = "serving"
    assert (large.status_code, asked.status_code, early.status_code) == (413, 200, 503)
    for answer in (large, asked, early):
        assert answer.headers["access-control-allow-origin"] == origins[0]


# start and stop


def test_unsafe_settings_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UnsafeSettings):
        create_app(settings(tmp_path / "data", host="0.0.0.0"))
    assert not (tmp_path / "data").exists()


def test_making_an_app_touches_no_data(tmp_path: Path) -> None:
    create_app(settings(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


async def test_a_start_that_fails_leaves_nothing_running(tmp_path: Path) -> None:
    tasks = asyncio.all_tasks()
    holder = Lease(tmp_path)
    holder.acquire()
    app = create_app(settings(tmp_path))
    with pytest.raises(LeaseHeld):
        async with lifespan(app):
            raise AssertionError("never served")
    assert state(app).phase == "stopped"
    assert asyncio.all_tasks() == tasks
    holder.release()
    async with lifespan(create_app(settings(tmp_path))):
        pass
    assert asyncio.all_tasks() == tasks
    assert Lease.read(tmp_path) is None


class Story:
    """A plugin that writes down what happens to it, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()

    def plugin(self) -> ModuleType:
        module = ModuleType("story")

        async def answer(_mission: Mission) -> str:
            self.told.append("process begins")
            self.began.set()
            await self.go_on.wait()
            self.told.append("process ends")
            return "done"

        @hookimpl
        def register_orchestrators(context: PluginContext) -> list[OrchestratorSpec]:
            return [OrchestratorSpec("story", answer)]

        @hookimpl
        async def runtime_started(context: PluginContext, runtime: MissionRuntime) -> None:
            self.told.append("plugin started")

        @hookimpl
        async def runtime_stopping(context: PluginContext, runtime: MissionRuntime) -> None:
            await runtime.persistence.fetch_one("SELECT 1")
            self.told.append("plugin stopping")

        for hook in (register_orchestrators, runtime_started, runtime_stopping):
            setattr(module, hook.__name__, hook)
        return module


async def test_plugins_are_there_for_the_first_process_and_for_the_last(tmp_path: Path) -> None:
    first, second = Story(), Story()
    app = create_app(settings(tmp_path), [first.plugin()])
    async with lifespan(app):
        sent = await state(app).node.tower.submit_request(
            Envelope(caller=LOCAL, message="go", capability="story")
        )
        await first.began.wait()
    assert first.told == ["plugin started", "process begins", "plugin stopping"]

    again = create_app(settings(tmp_path, shutdown_seconds=30), [second.plugin()])
    async with lifespan(again):
        await second.began.wait()  # the process that was parked, taken up again
        asyncio.get_running_loop().call_later(0.05, second.go_on.set)
    assert second.told == ["plugin started", "process begins", "process ends", "plugin stopping"]

    assert sent.process is not None
    last = create_app(settings(tmp_path), [Story().plugin()])
    async with lifespan(last):
        process = await state(last).node.tower.get(LOCAL, sent.process.pid)
    assert (process.state, process.reply) == (ProcessState.TERMINATED, "done")


async def test_a_provider_of_a_plugin_answers(tmp_path: Path) -> None:
    from mission_system import LLMChunk, LLMReply, LLMRequest

    class Shouting:
        name = "shouting"

        async def complete(self, request: LLMRequest) -> LLMReply:
            return LLMReply(request.messages[-1].content.upper())

        async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
            yield LLMChunk((await self.complete(request)).text)

    module = ModuleType("shouting")

    @hookimpl
    def register_llm_providers(context: PluginContext) -> dict[str, Any]:
        return {"shouting": lambda _settings: Shouting()}

    module.register_llm_providers = register_llm_providers  # type: ignore[attr-defined]
    app = create_app(settings(tmp_path, llm_provider="shouting"), [module])
    async with lifespan(app):
        ready = await client(app).get("/ready")
        done = await state(app).node.tower.submit_request(
            Envelope(caller=LOCAL, message="hello"), wait=10
        )
    assert ready.json()["components"]["models"]["status"] == "up"
    assert done.process is not None
    assert "HELLO" in (done.process.reply or "")


async def test_the_state_gives_the_parts_of_the_server(app: Starlette) -> None:
    parts = state(app)
    assert parts.control_tower is parts.node.tower
    assert parts.chat_service is parts.node.chat
    assert parts.db is parts.node.database
    assert parts.health_checker is parts.node.health
    assert parts.tool_catalog is parts.plugins.tools
    assert parts.orchestrator is not None
    assert parts.orchestrator.name == "assistant"


async def test_a_drained_server_does_not_wait_for_its_work_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(settings(tmp_path))
    stops = []
    async with lifespan(app):
        tower = state(app).node.tower
        stop = tower.stop

        async def counted() -> None:
            stops.append(tower)
            await stop()

        monkeypatch.setattr(tower, "stop", counted)
        await state(app).node.drain()
    assert len(stops) == 1


@pytest.mark.parametrize(
    ("setting", "event", "choice"),
    [
        ("llm_provider", "settings.unknown_llm_provider", "mock"),
        ("default_capability", "settings.unknown_default_capability", "assistant"),
    ],
)
def test_a_name_that_nobody_has_is_told_of_at_the_start(
    tmp_path: Path, setting: str, event: str, choice: str
) -> None:
    with capture_logs() as logs:
        create_app(settings(tmp_path, **{setting: "nobody"}))
    [told] = [log for log in logs if log["event"] == event]
    assert "nobody" in told.values()
    assert choice in told["fix"]
    with capture_logs() as logs:
        create_app(settings(tmp_path))
    assert event not in [log["event"] for log in logs]


def test_a_variable_that_nobody_reads_is_told_of_without_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISSION_DATABASE_URI", "postgres://ann:secret@host/db")
    monkeypatch.setenv("MISSION_ASSISTANT_MOOD", "good")  # the plugin's own business
    with capture_logs() as logs:
        create_app(settings(tmp_path))
    [told] = [log for log in logs if log["event"] == "settings.unknown_variable"]
    assert told["variable"] == "MISSION_DATABASE_URI"
    assert told["fix"] == "nobody reads it; write MISSION_DATABASE_URL"
    assert "secret" not in str(told)


def test_a_role_of_an_unknown_provider_is_an_error_of_the_setting_that_names_it(
    tmp_path: Path,
) -> None:
    roles = {"writer": RoleSettings(provider="opnai")}
    with capture_logs() as logs:
        create_app(settings(tmp_path, llm_provider="antropic", llm_roles=roles))
    told = [log for log in logs if log["event"] == "settings.unknown_llm_provider"]
    assert [(log["log_level"], log["role"], log["provider"]) for log in told] == [
        ("error", "default", "antropic"),
        ("error", "writer", "opnai"),
    ]
    for log, setting in zip(told, ("MISSION_LLM_PROVIDER", "MISSION_LLM_ROLES"), strict=True):
        assert log["fix"].startswith(f"in {setting} name one of: anthropic, ")


def test_a_prompt_of_the_settings_that_nobody_has_is_told_of_at_the_start(tmp_path: Path) -> None:
    with capture_logs() as logs:
        create_app(settings(tmp_path, prompts={"nobody": 2}))
    [told] = [log for log in logs if log["event"] == "settings.unusable_prompt"]
    assert "there is no prompt 'nobody'" in told["problem"]
    assert "MISSION_PROMPTS" in told["fix"]
