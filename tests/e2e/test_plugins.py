"""A plugin that brings something by every hook, installed with pip and served by a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import httpx
import pytest

from mission_system.plugins.implementations import SIGNATURES

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Cli

PYPROJECT = """
[build-system]
requires = ["setuptools>=80"]
build-backend = "setuptools.build_meta"

[project]
name = "acme-stars"
version = "1.2.0"

[project.entry-points.mission_system]
stars = "acme_stars"

[tool.setuptools]
packages = ["acme_stars"]
"""

HOOKS = '''
import json
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic_settings import BaseSettings
from starlette.responses import JSONResponse
from starlette.routing import Route

from mission_system import (
    ComponentHealth, ComponentStatus, Event, IndicatorSpec, LayerStatus, Measurement,
    MemoryLayerSpec, OrchestratorSpec, Prompt, hookimpl, tool,
)

SEEN = []


class StarSettings(BaseSettings):
    shop: str
    log: Path


@tool(risk="read_only")
def count_stars(name: str) -> int:
    """Count the stars of a name."""
    return len(name)


async def answer(mission):
    stars = await mission.tools.count_stars(name=mission.message)
    shop = mission.service("shop")
    greeting = mission.config("stars")["greeting"]
    return mission.prompt("stars", greeting=greeting, stars=stars, shop=shop)


@hookimpl
def register_settings(context):
    return StarSettings


@hookimpl
def register_tools():
    return [count_stars]


@hookimpl
def register_configs():
    return {"stars": {"greeting": "Hello"}}


@hookimpl
def register_prompts():
    return [Prompt("stars", "$greeting: $stars stars from $shop")]


@hookimpl
def register_services(context):
    own = context.own(StarSettings)

    @asynccontextmanager
    async def shop():
        yield own.shop
        with own.log.open("a") as log:
            log.write("shop closed\\n")

    return {"shop": shop()}


@hookimpl
def register_orchestrators():
    return [OrchestratorSpec("stars", answer)]


@hookimpl
def register_llm_providers():
    return {"stars": lambda settings: None}


@hookimpl
def register_graphql():
    from . import types

    return {"Session": types.SessionFields, "Subscription": types.Subscriptions}


async def who(request):
    return JSONResponse({"user": request.user.user_id, "seen": SEEN})


@hookimpl
def register_routes():
    return [Route("/who", who)]


async def observe(event: Event):
    SEEN.append(event.type)


@hookimpl
def register_event_observers():
    return [observe]


async def full():
    return ComponentHealth(status=ComponentStatus.UP, message="full of stars")


@hookimpl
def register_readiness_checks():
    return {"sky": full}


async def layer():
    return LayerStatus()


@hookimpl
def register_memory_layers():
    return [MemoryLayerSpec(layer="L6", backend="stars", check=layer)]


async def measure(persistence):
    return Measurement(good=1, total=1)


@hookimpl
def register_alignment_indicators():
    return [
        IndicatorSpec(
            name="shining",
            title="Stars shine",
            definition="Share of stars that shine.",
            threshold=0.5,
            measure=measure,
        )
    ]


def shine(times: int = 1):
    """Shine."""
    print("*" * times)


@hookimpl
def register_commands():
    return [shine]


@hookimpl
async def runtime_started(context, runtime):
    with context.own(StarSettings).log.open("a") as log:
        log.write(f"started by {runtime.services.get('shop')}\\n")


@hookimpl
async def runtime_stopping(context):
    with context.own(StarSettings).log.open("a") as log:
        log.write("stopping\\n")
'''

TYPES = """
from collections.abc import AsyncGenerator

import strawberry

from mission_system.api.graphql import Context, Count, Info, Session, page_size


@strawberry.type
class Star:
    number: int


async def stars_of(context: Context, sessions: list[str]) -> dict[str, list[Star]]:
    rows = await context.node.chat.get_sessions(context.caller, sessions)
    return {id: [Star(number=n) for n in range(row.message_count)] for id, row in rows.items()}


@strawberry.type
class SessionFields:
    @strawberry.field
    async def stars(
        self, info: Info, parent: strawberry.Parent[Session], first: Count = 10
    ) -> list[Star]:
        return (await info.context.batched(stars_of).load(parent.session_id))[: page_size(first)]


@strawberry.type
class Subscriptions:
    @strawberry.subscription
    async def stars(self, count: int = 3) -> AsyncGenerator[Star, None]:
        for number in range(count):
            yield Star(number=number)
"""

CLASHING = """
from mission_system import OrchestratorSpec, hookimpl

import strawberry


@strawberry.type
class Fields:
    @strawberry.field
    def stars(self) -> int:
        return 1


async def answer(mission):
    return "still here"


@hookimpl
def register_graphql():
    return {"Session": Fields}


@hookimpl
def register_orchestrators():
    return [OrchestratorSpec("zodiac", answer)]
"""


@pytest.fixture
def stars(cli: Cli, tmp_path: Path) -> Path:
    """The file in which the plugin tells of its life."""
    project = tmp_path / "acme-stars"
    (project / "acme_stars").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "acme_stars" / "__init__.py").write_text(dedent(HOOKS))
    (project / "acme_stars" / "types.py").write_text(dedent(TYPES))
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    target = ["--target", str(cli.folder / "plugins"), "--upgrade", str(project)]
    subprocess.run([sys.executable, *install, *target], check=True, timeout=100)
    cli.environment["MISSION_STARS_SHOP"] = "the north"
    cli.environment["MISSION_STARS_LOG"] = str(tmp_path / "life")
    return tmp_path / "life"


async def test_whatever_a_plugin_brings_is_served(cli: Cli, stars: Path) -> None:
    for hook in SIGNATURES:
        assert f"def {hook}(" in HOOKS, hook
    cli.install("zodiac", CLASHING)
    with cli.server() as server:
        data = await server.execute(
            """mutation { sendMessage(input: {text: "four", capability: "stars"}) {
              ... on SendMessagePayload { process { reply session { id } } } } }"""
        )
        process = data["sendMessage"]["process"]
        assert process["reply"] == "Hello: 4 stars from the north"
        data = await server.execute(
            """query ($id: ID!) {
              session(id: $id) { stars(first: 1) { number } }
              __type(name: "Star") { description fields { name } }
              readiness { components { name message } }
            }""",
            id=process["session"]["id"],
        )
        assert data["session"] == {"stars": [{"number": 0}]}
        assert data["__type"]["fields"] == [{"name": "number"}]
        assert {"name": "stars.sky", "message": "full of stars"} in data["readiness"]["components"]
        plugins = "{ plugins { name status reason distribution extendedTypes } }"
        data = await server.execute(plugins, user="local")
        told = {plugin["name"]: plugin for plugin in data["plugins"]}
        assert (told["stars"]["status"], told["stars"]["reason"]) == ("LOADED", None)
        assert told["stars"]["extendedTypes"] == ["Session", "Subscription"]
        assert told["zodiac"]["status"] == "FAILED"
        assert told["zodiac"]["reason"] == (
            "GraphQL field 'Session.stars' of plugin 'zodiac' (zodiac 1.0) is already defined by"
            " plugin 'stars' (acme-stars 1.2.0), which loaded first."
        )
        data = await server.execute(
            """mutation { sendMessage(input: {text: "hi", capability: "zodiac"}) {
              ... on SendMessagePayload { process { reply } } } }"""
        )
        assert data["sendMessage"]["process"]["reply"] == "still here"
        async with server.subscribe("subscription { stars(count: 2) { number } }") as results:
            numbers = [result["stars"]["number"] async for result in results]
        assert numbers == [0, 1]
        answer = httpx.get(f"{server.url}/plugins/stars/who", headers={"X-Mission-User": "ann"})
        assert answer.json()["user"] == "ann"
        assert "process.completed" in answer.json()["seen"]
        assert server.stop() == 0
    assert stars.read_text().splitlines() == [
        "started by the north",
        "stopping",
        "shop closed",
    ]


def test_commands_of_a_plugin_are_found_by_its_name(cli: Cli, stars: Path) -> None:
    assert cli.run("stars", "shine", "--times", "3").stdout == "***\n"
    assert "Shine." in cli.run("stars", "--help").stdout
    assert "shine" in cli.run("plugins", "list").stdout


def test_what_does_not_fit_the_schema_is_told_without_a_server(cli: Cli, stars: Path) -> None:
    cli.install("zodiac", CLASHING)
    listed = {
        each["name"]: each for each in json.loads(cli.run("plugins", "list", "--json").stdout)
    }
    assert listed["stars"]["status"] == "loaded"
    assert listed["zodiac"]["status"] == "failed"
    assert "'Session.stars' of plugin 'zodiac' (zodiac 1.0)" in listed["zodiac"]["reason"]
    assert "is already defined by plugin 'stars'" in " ".join(
        cli.run("plugins", "list").stdout.split()
    )


def test_commands_of_a_plugin_that_does_not_load_say_why(cli: Cli, stars: Path) -> None:
    cli.environment.pop("MISSION_STARS_SHOP")
    refused = cli.run("stars", "shine")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "mission: Plugin 'stars' (acme-stars 1.2.0): its settings do not validate:"
        " MISSION_STARS_SHOP: Field required.",
        "mission: Set them in the environment or in .env.",
    ]


def test_help_imports_no_plugin(cli: Cli) -> None:
    cli.install("loud", "print('imported')")
    told = cli.run("--help")
    assert told.returncode == 0
    assert "imported" not in told.stdout
    assert "mission plugins list" in told.stdout


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("raise OSError('no disk')", "importing broken raised OSError: no disk"),
        (
            "from mission_system import hookimpl\n@hookimpl\ndef register_tools(): return []",
            "the plugin 'broken' (broken 1.0) has no commands",
        ),
        (
            "from mission_system import hookimpl\ndef odd(x: int | str): ...\n"
            "@hookimpl\ndef register_commands(): return [odd]",
            "reading its commands raised",
        ),
    ],
)
def test_commands_that_cannot_be_run_are_explained(cli: Cli, source: str, problem: str) -> None:
    cli.install("broken", source)
    told = cli.run("broken", "odd")
    assert told.returncode == 2
    assert problem in told.stderr
    assert "Traceback" not in told.stderr


def test_a_command_that_fails_is_told_in_a_line_and_traced_only_in_the_log(cli: Cli) -> None:
    source = """
import typer
from mission_system import hookimpl

def fail(): return {}["key"]
def refuse(): raise typer.BadParameter("not so")
def leave(): raise typer.Exit(5)

@hookimpl
def register_commands(): return [fail, refuse, leave]
"""
    cli.install("broken", source)
    told = cli.run("broken", "fail")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.splitlines() == [
        "mission: `mission broken fail` of the plugin 'broken' (broken 1.0) raised KeyError: 'key'"
        " (broken.py, line 5). MISSION_LOG_LEVEL=debug shows the trace."
    ]
    traced = cli.run("broken", "fail", MISSION_LOG_LEVEL="debug")
    assert "Traceback" in traced.stderr
    assert "not so" in cli.run("broken", "refuse").stderr
    assert cli.run("broken", "leave").returncode == 5


def test_what_an_orchestrator_forgets_to_await_is_told_in_the_log(cli: Cli) -> None:
    source = """
from mission_system import OrchestratorSpec, hookimpl

async def answer(mission):
    mission.clarify("Which?")
    held = mission.confirm("Sure?")
    return "done"

@hookimpl
def register_orchestrators(): return [OrchestratorSpec("hasty", answer)]
"""
    cli.install("hasty", source)
    with cli.server() as server:
        assert cli.run("ask", "--capability", "hasty", "hi").stdout == "done\n"
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    told = [line for line in lines if "was never awaited" in line["event"]]
    assert [line["capability"] for line in told] == ["hasty", "hasty"]
    assert "hasty.py:5: RuntimeWarning: coroutine 'Mission.clarify'" in told[0]["event"]
    assert "'Mission.confirm' was never awaited" in told[1]["event"]
    assert told[0]["pid"]


def test_a_new_capability_passes_its_tests_installs_and_answers(cli: Cli) -> None:
    written = cli.run("new", "acme-words")
    assert written.returncode == 0, written.stderr
    assert "pip install -e" in written.stdout
    project = cli.folder / "acme-words"
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env=cli.environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "2 passed" in tests.stdout
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    target = ["--target", str(cli.folder / "plugins"), "--upgrade", str(project)]
    subprocess.run([sys.executable, *install, *target], check=True, timeout=100)
    assert "acme-words" in cli.run("plugins", "list").stdout
    with cli.server():
        asked = cli.run("ask", "--capability", "acme-words", "How many words are these?")
    assert asked.stdout == "That has 5 words.\n"
    again = cli.run("new", "acme-words")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
