"""The documentation says what is so: its samples run, its links lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import cast, get_args

import pytest
from graphql import build_schema, parse, validate

from mission_system import PluginContext, hookimpl
from mission_system.core.capabilities import CapabilityRegistry
from mission_system.core.errors import LLMErrorKind
from mission_system.core.identity import LOCAL
from mission_system.core.llm import vendors
from mission_system.core.llm.credentials import REQUIRED, Credentials
from mission_system.core.llm.roles import targets_of
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tower.process import Envelope, ProcessControlBlock, Quota
from mission_system.plugins.implementations import SIGNATURES
from mission_system.plugins.loader import load_plugins
from mission_system.schema.build import build_schema as schema_of_plugins
from mission_system.schema.context import Context
from mission_system.schema.node import global_id
from mission_system.web.app import create_app
from mission_system.web.lifespan import lifespan

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MODELS = (ROOT / "docs" / "models.md").read_text()
PAGES = [
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")]
    if "node_modules" not in path.parts
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


async def test_capability_of_the_readme_loads_asks_and_answers(tmp_path: Path) -> None:
    (source,) = blocks("python")
    plugin = types.ModuleType("acme_docs")
    exec(source, plugin.__dict__)
    settings = Settings(data=tmp_path)
    host = load_plugins(settings, [plugin], entry_points=False)
    assert [report.status for report in host.reports] == ["loaded"]
    runtime = create_mission_runtime(host.tools, settings=settings, use_mock=True)
    async with Node(runtime, CapabilityRegistry(host.orchestrators)) as node:
        request = Envelope(caller=LOCAL, message="How do I pay?")
        process = (await node.tower.submit_request(request, wait=10)).process
        assert process is not None
        assert process.pending is not None
        assert process.pending.options == ("billing", "setup")
        process = await node.tower.resume_request(LOCAL, process.pending.id, "billing", wait=10)
    assert "Invoices are sent on the first." in (process.reply or "")


async def test_plugin_of_the_governance_page_keeps_a_layer_and_a_promise(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "governance.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    plugin = types.ModuleType("acme_passages")
    exec(source, plugin.__dict__)
    app = create_app(Settings(data=tmp_path), [plugin])
    async with lifespan(app):
        node = cast(Node, app.state.node)
        layers = {layer.id: layer for layer in await node.memory_layers.status()}
        indicators = {each.name: each for each in await node.alignment.report()}
    layer = layers["L3"]
    assert (layer.state, layer.backend, layer.rows) == ("active", "passages in memory", 2)
    assert indicators["children"].state == "unknown"


async def test_capability_of_its_page_does_what_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "capabilities.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    plugin = types.ModuleType("acme_report")
    exec(source, plugin.__dict__)
    settings = Settings(data=tmp_path)
    host = load_plugins(settings, [plugin], entry_points=False)
    assert [report.status for report in host.reports] == ["loaded"]

    async def asked(node: Node, answer: str) -> ProcessControlBlock:
        [question] = await node.tower.pending_interrupts(LOCAL)
        return await node.tower.resume_request(LOCAL, question.id, answer, wait=60)

    def served() -> Node:
        runtime = create_mission_runtime(host.tools, settings=settings, use_mock=True)
        return Node(runtime, CapabilityRegistry(host.orchestrators))

    async with served() as node:
        request = Envelope(caller=LOCAL, message="tea", capability="report")
        await node.tower.submit_request(request, wait=60)
        process = await asked(node, "German")
    assert process.pending is not None
    assert "facts about tea in theory; facts about tea in practice" in process.pending.question
    async with served() as node:
        await asked(node, "continue")
        assert plugin.__dict__["PUBLISHED"] == []
        process = await asked(node, "yes")
    text = "[German] facts about tea in theory; facts about tea in practice"
    assert process.reply == text
    assert plugin.__dict__["PUBLISHED"] == [text]


def test_every_hook_is_on_its_page_with_its_arguments() -> None:
    page = (ROOT / "docs" / "hooks.md").read_text()
    told = re.findall(r"^### `((?:register|runtime)_\w+\([^`]*\))`$", page, re.MULTILINE)
    assert sorted(told) == sorted(SIGNATURES.values())


def test_settings_on_the_page_of_hooks_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "hooks.md").read_text()
    [source] = [s for s in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Weather" in s]
    plugin = types.ModuleType("weather")
    monkeypatch.setitem(sys.modules, "weather", plugin)
    exec(source, plugin.__dict__)
    monkeypatch.setenv("MISSION_WEATHER_API_KEY", "secret")
    read: list[str] = []

    @hookimpl
    def register_configs(context: PluginContext) -> dict[str, object]:
        read.append(context.own(plugin.WeatherSettings).api_key.get_secret_value())
        return {}

    plugin.register_configs = register_configs  # type: ignore[attr-defined]
    host = load_plugins(Settings(data=tmp_path), [plugin], entry_points=False)
    assert [(report.status, report.reason) for report in host.reports] == [("loaded", None)]
    assert read == ["secret"]


async def test_extension_of_the_schema_on_the_page_of_hooks_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "hooks.md").read_text()
    [source] = [s for s in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Star" in s]
    plugin = types.ModuleType("acme_stars")
    monkeypatch.setitem(sys.modules, "acme_stars", plugin)  # where annotations are looked up
    exec(source, plugin.__dict__)
    settings = Settings(data=tmp_path)
    host = load_plugins(settings, [plugin], entry_points=False)
    schema = schema_of_plugins(settings, plugins=host)
    assert [(report.status, report.reason) for report in host.reports] == [("loaded", None)]
    runtime = create_mission_runtime(host.tools, settings=settings, use_mock=True)
    async with Node(runtime, CapabilityRegistry()) as node:
        session = (await node.chat.create_session(LOCAL)).session_id

        async def data(query: str) -> object:
            result = await schema.execute(
                query,
                {"id": session, "global": global_id("Session", session)},
                context_value=Context(node, LOCAL, host),
            )
            assert not result.errors
            return result.data

        give = 'mutation ($id: ID!) { giveStar(sessionId: $id, why: "so") { __typename } }'
        assert await data(give) == {"giveStar": {"__typename": "GiveStarPayload"}}
        give = 'mutation ($global: ID!) { giveStar(sessionId: $global, why: "id") { __typename } }'
        assert await data(give) == {"giveStar": {"__typename": "GiveStarPayload"}}
        give = 'mutation { giveStar(sessionId: "nobody", why: "so") { __typename } }'
        assert await data(give) == {"giveStar": {"__typename": "NotFound"}}
        listed = await data("query ($id: ID!) { session(id: $id) { stars { why } } }")
        assert listed == {"session": {"stars": [{"why": "so"}, {"why": "id"}]}}


def test_capability_of_the_readme_has_about_twenty_lines() -> None:
    (source,) = blocks("python")
    assert len([line for line in source.splitlines() if line.strip()]) <= 24


def test_capability_of_the_readme_installs_as_the_readme_says(tmp_path: Path) -> None:
    (source,), (project,) = blocks("python"), blocks("toml")
    (tmp_path / "acme_docs.py").write_text(source)
    (tmp_path / "pyproject.toml").write_text(project)
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    target = tmp_path / "site"
    subprocess.run(
        [sys.executable, *install, "--target", str(target), str(tmp_path)], check=True, timeout=100
    )
    assert (target / "acme_docs.py").exists()
    (entry_points,) = target.glob("acme_docs-1.0.dist-info/entry_points.txt")
    assert entry_points.read_text().split() == ["[mission_system]", "docs", "=", "acme_docs"]


def test_graphql_of_the_readme_fits_the_schema() -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text())
    for document in blocks("graphql"):
        assert validate(schema, parse(document)) == []


def test_settings_of_the_readme_exist_with_their_defaults() -> None:
    rows = re.findall(r"^\| (`MISSION_[^|]*) \| ([^|]*) \|", README, re.MULTILINE)
    assert len(rows) >= 5
    for names, defaults in rows:
        for name, default in zip(
            re.findall(r"MISSION_(\w+)", names), re.findall(r"`([^`]*)`", defaults), strict=True
        ):
            value: object = Settings()
            for part in name.lower().split("__"):
                value = getattr(value, part)
            assert str(value) == default


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_limits_on_the_page_of_resources_are_those_of_a_quota() -> None:
    page = (ROOT / "docs" / "resources.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.MULTILINE)
    told = {name: float(default) for name, default in rows}
    assert told == Quota().model_dump(exclude={"on_exhausted"})


def test_page_of_models_names_each_provider_with_what_it_needs() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:`(\w+)` )?\| ([^|]*)\|", MODELS, re.MULTILINE)
    told = {name: (extra, needs) for name, extra, needs in rows if name in (*REQUIRED, "mock")}
    assert list(told) == ["mock", "openai", "azure", "anthropic", "llamaserver", "llamacpp"]
    for name, needed in REQUIRED.items():
        extra, needs = told[name]
        required = needs.partition(";")[0] if needed else ""
        assert re.findall(r"`([A-Z_]+)`", required) == [field.upper() for field in needed]
        for variable in re.findall(r"`([A-Z_]+)`", needs):
            assert variable.lower() in Credentials.model_fields
        assert f'\n{extra} = ["' in (ROOT / "pyproject.toml").read_text()


def test_page_of_models_names_each_kind_of_failure() -> None:
    kinds = re.findall(r"^\| `(\w+)` \| [^|]*\| (?:yes|no)", MODELS, re.MULTILINE)
    assert sorted(kinds) == sorted(get_args(LLMErrorKind))


def test_page_of_models_names_the_models_that_are_asked_by_default() -> None:
    asked = " ".join(MODELS.split())
    assert (
        f"`openai` asks `{vendors.OPENAI_MODEL}`, `anthropic` `{vendors.ANTHROPIC_MODEL}`" in asked
    )
    assert f"`llamaserver` `{vendors.LLAMASERVER_MODEL}`" in asked


def test_settings_of_the_page_of_models_are_heeded() -> None:
    roles, prices = map(json.loads, re.findall(r"```json\n(.*?)```", MODELS, re.DOTALL))
    settings = Settings(llm_provider="openai", llm_roles=roles, llm_prices=prices)
    asked = {
        role: [(target.provider, target.model) for target in targets_of(settings, role)]
        for role in ("planner", "writer", "any other")
    }
    assert asked == {
        "planner": [("anthropic", "claude-sonnet-5-5")],
        "writer": [("llamacpp", None)],
        "any other": [("openai", "gpt-6-luna"), ("anthropic", None)],
    }
    for name in re.findall(r"`MISSION_([A-Z_]+)`", MODELS):
        assert name.lower() in Settings.model_fields
