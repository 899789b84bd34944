"""What a replay sees: the snapshots of the first run, and notes where it asks for other things."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import structlog
from pydantic import BaseModel, SecretStr

from mission_system.core.errors import InvalidInput
from mission_system.core.llm.provider import LLMChunk, LLMReply, LLMRequest
from mission_system.core.prompts import Prompt
from mission_system.core.tools.call import idempotency_key
from mission_system.core.tools.decorator import tool
from mission_system.core.tower import mission_llm, mission_sleep
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import ProcessState


@dataclass
class Limits:
    pages: int
    words: set[str] = field(default_factory=set)


class Style(BaseModel):
    tone: str


class Guarded(BaseModel):
    key: SecretStr


class Client:
    """No data: something that does things."""


def configs(version: int) -> dict[str, Any]:
    return {
        "limits": Limits(version, {str(version)}),
        "style": Style(tone=f"tone {version}"),
        "plain": {"version": [version]},
        "guarded": Guarded(key=SecretStr(f"key {version}")),
        "client": Client(),
    }


async def go_on(node, ann, process):
    assert process.state is ProcessState.WAITING, process.error
    return await node.tower.resume_request(ann, process.pending.id, "go", wait=10)


async def test_config_that_changes_meanwhile_is_seen_as_the_first_run_saw_it(
    start_node, send, ann
) -> None:
    seen: list[dict[str, Any]] = []

    async def work(mission: Mission) -> str:
        names = ("limits", "style", "plain", "guarded", "client")
        seen.append({name: mission.config(name) for name in names})
        assert mission.config("style") == seen[-1]["style"]
        return await mission.clarify("go on?")

    old, new = configs(1), configs(2)
    node = await start_node(work)
    for name, config in old.items():
        node.runtime.config_registry.register(name, config)
    process = await send(node)
    await node.stop()
    node = await start_node(work)
    for name, config in new.items():
        node.runtime.config_registry.register(name, config)
    assert (await go_on(node, ann, process)).reply == "go"
    for name in ("limits", "style", "plain"):
        assert seen[0][name] == seen[1][name] == old[name]
    assert seen[0]["guarded"].key.get_secret_value() == "key 1"
    assert seen[1]["guarded"].key.get_secret_value() == "key 2"
    assert (seen[0]["client"], seen[1]["client"]) == (old["client"], new["client"])
    rows = await node.database.fetch_all("SELECT name, output FROM step WHERE kind = 'config'")
    assert sorted(row["name"] for row in rows) == ["limits", "plain", "style"]


async def test_prompt_is_the_version_that_the_process_read_first(start_node, send, ann) -> None:
    seen: list[str] = []

    async def work(mission: Mission) -> str:
        seen.append(mission.prompt("writer", topic="tea", name="Ann"))
        return await mission.clarify("go on?")

    def register(node, *prompts: Prompt) -> None:
        for prompt in prompts:
            node.runtime.prompts.register(prompt)

    node = await start_node(work)
    register(node, Prompt("writer", "Write of $topic."))
    process = await send(node)
    await node.stop()
    node = await start_node(work)
    register(node, Prompt("writer", "Sing of $topic, $name.", version=2))
    assert (await go_on(node, ann, process)).reply == "go"
    await send(node)
    assert seen == ["Write of tea.", "Write of tea.", "Sing of tea, Ann."]
    await node.stop()
    node = await start_node(work)  # where nobody brings the prompt any more, what began goes on
    [question] = await node.tower.pending_interrupts(ann)
    resumed = await node.tower.resume_request(ann, question.id, "go", wait=10)
    assert (resumed.reply, seen[-1]) == ("go", "Sing of tea, Ann.")
    rows = await node.database.fetch_all(
        "SELECT s.output FROM step s WHERE s.kind = 'prompt' AND s.name = 'writer' ORDER BY s.id"
    )
    assert [orjson.loads(row["output"])["version"] for row in rows] == [1, 2]


@pytest.mark.parametrize(
    ("name", "problem"), [("poet", "no prompt 'poet'"), ("writer", "needs topic")]
)
async def test_prompt_that_cannot_be_filled_ends_the_process_and_the_log_says_why(
    start_node, send, name: str, problem: str
) -> None:
    async def work(mission: Mission) -> str:
        return mission.prompt(name)

    node = await start_node(work)
    node.runtime.prompts.register(Prompt("writer", "Write of $topic."))
    with structlog.testing.capture_logs() as logs:
        process = await send(node)
    assert process.reason == "error"
    assert problem not in (process.error or "")
    assert any(problem in str(line.get("exc_info")) for line in logs)


async def test_provider_is_the_one_that_the_process_started_with(start_node, send, ann) -> None:
    seen: list[str] = []

    async def work(mission: Mission) -> str:
        seen.append(mission.provider)
        return await mission.clarify("go on?")

    node = await start_node(work)
    node.tower._transitions._provider_of = lambda _: "first"
    process = await send(node)
    await node.stop()
    node = await start_node(work)
    node.tower._transitions._provider_of = lambda _: "second"
    await go_on(node, ann, process)
    assert seen == ["first", "first"]


async def test_changed_input_of_a_replayed_step_is_noted_and_not_fatal(
    start_node, send, ann
) -> None:
    called: list[object] = []

    class Odd:
        """Its repr has an address, which differs from run to run."""

    async def work(mission: Mission) -> str:
        await mission.step("same", called.append, {"b", "a", "c"})
        await mission.step("odd", lambda odd: called.append("odd"), Odd())
        await mission.step("other", called.append, len(called))
        await mission.clarify("go on?")
        return await mission.clarify("and on?")

    node = await start_node(work)
    process = await send(node)
    with structlog.testing.capture_logs() as logs:
        process = await go_on(node, ann, process)
        process = await go_on(node, ann, process)
    assert process.reply == "go"
    assert len(called) == 3
    changed = {s.name: s.input_changed for s in await node.tower.steps(ann, process.pid)}
    assert changed == {
        "same": False,
        "odd": False,
        "other": True,
        "clarification": False,
    }
    told = [entry for entry in logs if entry["event"].startswith("input of a replayed step")]
    assert [(entry["name"], entry["pid"]) for entry in told] == [("other", process.pid)]


async def test_timeline_is_read_in_parts_and_says_what_a_client_may_know(
    start_node, send, ann
) -> None:
    def fails() -> None:
        raise ValueError("password is hunter2")

    async def work(mission: Mission) -> str:
        await mission.step("text", lambda: "x" * 98)
        try:
            await mission.step("fails", fails)
        except Exception:
            return await mission.step("last", str)
        return "no error"

    node = await start_node(work)
    process = await send(node)
    steps = await node.tower.steps(ann, process.pid)
    assert [(s.name, s.status, s.attempt, s.size) for s in steps] == [
        ("text", "completed", 1, 100),
        ("fails", "failed", 1, 0),
        ("last", "completed", 1, 2),
    ]
    assert [s.error for s in steps] == [None, "step 'fails' failed: ValueError", None]
    assert await node.tower.steps(ann, process.pid, first=1) == steps[:1]
    assert await node.tower.steps(ann, process.pid, first=9, after=steps[0].key) == steps[1:]
    with pytest.raises(InvalidInput):
        await node.tower.steps(ann, process.pid, after="nowhere")


async def test_idempotency_key_is_one_per_step_and_the_same_in_every_attempt(
    start_node, send, ann
) -> None:
    keys: list[str | None] = []
    gate = asyncio.Event()

    @tool(risk="write", idempotent=True)
    async def save() -> str:
        """Save something, as often as it takes."""
        keys.append(idempotency_key())
        if len(keys) > 1 and not gate.is_set():
            await asyncio.sleep(3600)
        return "saved"

    async def work(mission: Mission) -> str:
        return f"{await mission.tools.save()} {await mission.tools.save()}"

    policy: Any = {"tool_policy": [{"tool": "save", "decision": "allow"}]}
    node = await start_node(work, tools=[save], **policy)
    process = await send(node, wait=None)
    while len(keys) < 2:
        await asyncio.sleep(0.01)
    await node.stop()
    gate.set()
    node = await start_node(work, tools=[save], **policy)
    # An idempotent tool is called again without a review.
    assert (await node.tower.wait(ann, process.pid, 10)).reply == "saved saved"
    other = await send(node)
    first, second, again, *others = keys
    assert second == again
    assert len({first, second, *others}) == 4
    assert str(first).startswith(process.pid)
    assert all(str(key).startswith(other.pid) for key in others)


async def test_sleep_that_is_over_is_not_slept_again(start_node, send, ann, monkeypatch) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def work(mission: Mission) -> str:
        await mission.sleep(1800)
        return await mission.clarify("go on?")

    async def counted(seconds: float, result: Any = None) -> Any:
        if seconds > 1000:
            slept.append(seconds)
            seconds = 0
        return await sleep(seconds, result)

    monkeypatch.setattr(mission_sleep, "SHORT_SECONDS", 3600)
    monkeypatch.setattr(asyncio, "sleep", counted)
    node = await start_node(work)
    process = await go_on(node, ann, await send(node))
    assert (process.reply, len(slept)) == ("go", 1)
    assert (await node.tower.steps(ann, process.pid))[0].name == "sleep"


async def test_sleep_goes_on_from_where_it_began(start_node, send, ann, monkeypatch) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def work(mission: Mission) -> str:
        await mission.sleep(1800)
        return "done"

    async def counted(seconds: float, result: Any = None) -> Any:
        if seconds > 1000:
            slept.append(seconds)
            seconds = 3600 if len(slept) == 1 else 0
        return await sleep(seconds, result)

    monkeypatch.setattr(mission_sleep, "SHORT_SECONDS", 3600)
    monkeypatch.setattr(asyncio, "sleep", counted)
    node = await start_node(work)
    process = await send(node, wait=None)
    while not await node.tower.steps(ann, process.pid):
        await sleep(0.01)
    await node.stop()
    node = await start_node(work)
    assert (await node.tower.wait(ann, process.pid, 10)).reply == "done"
    assert slept[1] < slept[0]


class Silent:
    """A model that never answers."""

    name = "silent"

    async def complete(self, request: LLMRequest) -> LLMReply:
        await asyncio.sleep(3600)
        raise AssertionError

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        yield LLMChunk("half")
        await asyncio.sleep(3600)


@pytest.mark.parametrize("streamed", [False, True])
async def test_model_that_does_not_answer_is_given_up(
    start_node, send, monkeypatch, streamed: bool
) -> None:
    monkeypatch.setattr(mission_llm, "TIMEOUT_SECONDS", 0.05)

    async def work(mission: Mission) -> str:
        model = mission.llm()
        return (await (model.stream("?") if streamed else model.complete("?"))).text

    node = await start_node(work)
    object.__setattr__(node.runtime, "mock_provider", Silent())
    process = await send(node)
    assert process.reason == "llm_error"
    assert "no reply from the model" in (process.error or "")
