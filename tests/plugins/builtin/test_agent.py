"""The assistant with a real client of a model that a test scripts, on a real node."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from vendors import OPENAI_ERRORS, Answer, Vendor, serving

from mission_system.core.capabilities import CapabilityRegistry
from mission_system.core.errors import MissionError
from mission_system.core.identity import Caller
from mission_system.core.llm.factory import LLMFactory
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tools.breaker import FAILURES
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tools.decorator import tool
from mission_system.core.tools.spec import ToolSpec
from mission_system.core.tower.process import Envelope, Outcome, ProcessControlBlock
from mission_system.plugins.builtin import assistant, models

ANN = Caller("ann")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@tool
async def look(what: str) -> str:
    """Look something up."""
    return f"all about {what}"


@tool
async def count(items: list[str]) -> dict[str, int]:
    """Count things."""
    return {item: len(item) for item in items}


@tool
async def fail() -> str:
    """Fail in a way nobody foresaw."""
    raise ValueError("the password is hunter2")


@tool
async def refuse() -> str:
    """Fail with something to say."""
    raise MissionError("the shop is closed")


@tool(risk="destructive")
async def drop(table: str) -> str:
    """Remove a table."""
    return f"{table} is gone"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    with serving(Vendor()) as vendor:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{vendor.url}/v1")
        yield vendor


@pytest.fixture
async def node(tmp_path: Path, model: Vendor) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def start(*tools: ToolSpec, **settings: Any) -> Node:
            given: dict[str, Any] = {"data": tmp_path, "llm_provider": "openai"}
            runtime = create_mission_runtime(
                ToolCatalog(tools),
                settings=Settings(**given | settings),
                prompts=assistant.register_prompts(),
            )
            assert isinstance(runtime.llm_provider_factory, LLMFactory)
            for name, make in models.register_llm_providers().items():
                runtime.llm_provider_factory.register(name, make)
            specs = tuple(assistant.register_orchestrators())
            return await stack.enter_async_context(Node(runtime, CapabilityRegistry(specs)))

        yield start


async def send(node: Node, message: str = "hi", **envelope: Any) -> ProcessControlBlock:
    request = Envelope(caller=ANN, message=message, **envelope)
    process = (await node.tower.submit_request(request, wait=60)).process
    assert process is not None
    return process


def told(model: Vendor, request: int = -1) -> list[dict[str, Any]]:
    """The messages of a request: by default the last."""
    messages: list[dict[str, Any]] = model.requests[request]["messages"]
    return messages


def results(model: Vendor) -> list[str]:
    return [message["content"] for message in told(model) if message["role"] == "tool"]


@pytest.mark.parametrize("message", ["hello", "/clarify", "/confirm", "/fail"])
async def test_model_gets_its_prompt_and_the_message_and_its_reply_is_the_answer(
    node, model: Vendor, message: str
) -> None:
    process = await send(await node(), message)
    assert (process.reply or "").strip() == "Hello from the model."
    system, user = told(model)
    assert system["content"].startswith("You are a helpful assistant.")
    assert (user["role"], user["content"]) == ("user", message)


async def test_prompt_may_be_another_by_the_settings(node, model: Vendor) -> None:
    await send(await node(prompts={"assistant": "Speak like a pirate."}))
    assert told(model)[0]["content"] == "Speak like a pirate."


async def test_role_decides_who_answers_whoever_the_servers_provider_is(
    node, model: Vendor, tmp_path: Path
) -> None:
    real = {"assistant": {"provider": "openai"}}
    await send(await node(look, llm_provider="mock", llm_roles=real))
    assert told(model)[0]["role"] == "system"
    assert [each["function"]["name"] for each in model.requests[0]["tools"]] == ["look"]
    other = {"data": tmp_path / "mock", "llm_roles": {"assistant": {"provider": "mock"}}}
    assert (await send(await node(look, **other))).reply == "You said: hi"
    assert len(model.requests) == 1


async def test_conversation_so_far_goes_before_the_message(node, model: Vendor) -> None:
    here = await node()
    first = await send(here, "one")
    await send(here, "two", session_id=first.session_id)
    assert [message["content"].strip() for message in told(model)[1:]] == [
        "one",
        "Hello from the model.",
        "two",
    ]


async def test_old_messages_give_way_to_the_quota(node, model: Vendor) -> None:
    here = await node(quota={"max_input_tokens": 400})
    session = None
    for number in range(5):
        process = await send(here, str(number) * 500, session_id=session)
        session = process.session_id
        assert process.outcome is Outcome.COMPLETED
    sent = told(model)
    assert sum(len(message["content"]) for message in sent) <= 1600
    assert sent[-1]["content"] == "4" * 500
    assert sent[1]["content"] != "0" * 500


async def test_conversation_that_is_too_long_for_the_model_is_shortened(
    node, model: Vendor
) -> None:
    here = await node(quota={"max_input_tokens": 1000})
    session = None
    for number in range(4):
        session = (await send(here, str(number) * 700, session_id=session)).session_id
    too_long = OPENAI_ERRORS["context_too_long"]
    model.script = [too_long, too_long, Answer("At last.")]
    before = len(model.requests)
    process = await send(here, "4" * 300, session_id=session)
    assert (process.reply or "").strip() == "At last."
    assert process.usage.llm_calls == 3
    sent = [told(model, number) for number in range(before, before + 3)]
    sizes = [sum(len(message["content"]) for message in messages) for messages in sent]
    assert sizes[0] <= 4000
    assert sizes[1] <= 2000 < sizes[0]
    assert sizes[2] <= 1000 < sizes[1]
    assert [messages[-1]["content"] for messages in sent] == ["4" * 300] * 3


async def test_conversation_is_shortened_also_where_the_quota_has_room_for_many_of_it(
    node, model: Vendor
) -> None:
    here = await node(quota={"max_input_tokens": 20_000})
    session = None
    for number in range(4):
        session = (await send(here, str(number) * 700, session_id=session)).session_id
    too_long = OPENAI_ERRORS["context_too_long"]
    model.script = [too_long, too_long, Answer("At last.")]
    before = len(model.requests)
    process = await send(here, "4" * 300, session_id=session)
    assert (process.reply or "").strip() == "At last."
    sent = [told(model, number) for number in range(before, before + 3)]
    sizes = [sum(len(message["content"]) for message in messages) for messages in sent]
    assert sizes[1] <= sizes[0] / 2
    assert sizes[2] <= sizes[1] / 2
    assert [messages[-1]["content"] for messages in sent] == ["4" * 300] * 3


async def test_message_that_is_too_long_for_the_model_ends_the_request(node, model: Vendor) -> None:
    model.script = [OPENAI_ERRORS["context_too_long"]]
    process = await send(await node())
    assert process.error == "openai cannot read so long a conversation (status 400)"
    assert len(model.requests) == 1


async def test_tools_are_called_and_their_results_told_until_there_is_an_answer(
    node, model: Vendor
) -> None:
    model.script = [
        Answer("Let me look.", calls=[("look", {"what": "bees"})]),
        Answer("", calls=[("count", {"items": ["a", "bb"]}), ("look", {"what": "ants"})]),
        Answer("That is all."),
    ]
    here = await node(look, count)
    process = await send(here)
    assert (process.reply or "").strip() == "That is all."
    assert results(model) == ["all about bees", '{"a":1,"bb":2}', "all about ants"]
    steps = await here.tower.steps(ANN, process.pid)
    assert [step.kind for step in steps if step.kind in ("llm", "tool")] == [
        "llm", "tool", "llm", "tool", "tool", "llm"
    ]  # fmt: skip
    assert (process.usage.llm_calls, process.usage.tool_calls) == (3, 3)
    offered = [each["function"]["name"] for each in model.requests[0]["tools"]]
    assert offered == ["look", "count"]


async def test_tool_that_asks_first_waits_for_the_users_word(
    node, model: Vendor, tmp_path: Path
) -> None:
    for answer, said in (("yes", "users is gone"), ("no", "The user declined.")):
        model.script = [Answer("", calls=[("drop", {"table": "users"})]), Answer("Well.")]
        here = await node(drop, data=tmp_path / answer)
        process = await send(here)
        assert process.pending is not None
        assert process.pending.kind == "confirmation"
        assert "users" in process.pending.question
        asked = len(model.requests)
        process = await here.tower.resume_request(ANN, process.pending.id, answer, wait=60)
        assert (process.reply or "").strip() == "Well."
        assert results(model)[0].startswith(said)
        assert len(model.requests) == asked + 1


async def test_failing_and_unknown_tools_are_told_without_foreign_texts(
    node, model: Vendor
) -> None:
    model.script = [
        Answer(
            "",
            calls=[("fail", {}), ("refuse", {}), ("nothing", {}), ("look", {"who": 1})],
        ),
        Answer("I see."),
    ]
    process = await send(await node(fail, refuse, look))
    assert (process.reply or "").strip() == "I see."
    failed, refused, unknown, invalid = results(model)
    assert failed == "Error: it failed unexpectedly"
    assert refused == "Error: the shop is closed"
    assert "no such tool: nothing" in unknown
    assert "what" in invalid


async def test_arguments_that_are_no_json_are_told(node, model: Vendor) -> None:
    model.script = [Answer("", calls=[("look", ["not", "an", "object"])]), Answer("Sorry.")]
    process = await send(await node(look))
    assert (process.reply or "").strip() == "Sorry."
    assert results(model) == ["Error: the arguments are no JSON object."]


async def test_tools_that_policy_denies_are_not_offered(node, model: Vendor) -> None:
    policy = [{"tool": "drop", "decision": "deny"}]
    await send(await node(look, drop, tool_policy=policy))
    assert [each["function"]["name"] for each in model.requests[0]["tools"]] == ["look"]


async def test_tool_whose_breaker_opens_is_not_offered_again(node, model: Vendor) -> None:
    failing = Answer("", calls=[("fail", {})] * FAILURES)
    model.script = [Answer("", calls=[("look", {"what": "bees"})]), failing, Answer("It fails.")]
    process = await send(await node(look, fail))
    assert (process.reply or "").strip() == "It fails."
    offered = [[each["function"]["name"] for each in asked["tools"]] for asked in model.requests]
    assert offered == [["look", "fail"], ["look", "fail"], ["look"]]


async def test_long_results_are_cut_and_old_ones_left_out(node, model: Vendor) -> None:
    @tool
    async def read(page: int) -> str:
        """Read a page."""
        return str(page) * 5000

    pages = [Answer("", calls=[("read", {"page": page})]) for page in range(6)]
    model.script = [*pages, Answer("Done.")]
    process = await send(await node(read, quota={"max_input_tokens": 1000}))
    assert (process.reply or "").strip() == "Done."
    assert results(model)[0] == "(left out: there was no room)"
    assert results(model)[-1].startswith("5555")
    assert sum(len(message["content"] or "") for message in told(model)) <= 4000


async def test_model_that_never_ends_is_told_its_last_reply_and_stopped_by_the_quota(
    node, model: Vendor
) -> None:
    model.script = [Answer("", calls=[("look", {"what": "more"})])]
    process = await send(await node(look, quota={"max_llm_calls": 3}))
    assert (process.outcome, process.reason) == (Outcome.FAILED, "max_llm_calls_exceeded")
    assert len(model.requests) == 3
    assert "last reply" in told(model)[0]["content"]
    assert "last reply" not in told(model, -2)[0]["content"]


async def test_attempts_that_failed_count_for_the_last_reply(node, model: Vendor) -> None:
    busy = deepcopy(OPENAI_ERRORS["rate_limited"])
    busy.headers = {"retry-after": "0.01"}
    asks = Answer("", calls=[("drop", {"table": "a"})])
    model.script = [busy, asks, Answer("Done.")]
    server = await node(drop, quota={"max_llm_calls": 3})
    process = await send(server)
    assert "last reply" not in told(model)[0]["content"]
    assert process.pending is not None
    # The run after the answer replays the first call, and asks the model as if it had made it.
    process = await server.tower.resume_request(ANN, process.pending.id, "yes", wait=60)
    assert (process.reply or "").strip() == "Done."
    assert len(model.requests) == 3
    assert "last reply" in told(model)[0]["content"]
    assert not any(step.input_changed for step in await server.tower.steps(ANN, process.pid))


async def test_answer_fits_the_schema_that_was_asked_for(node, model: Vendor) -> None:
    model.script = [Answer('{"city":"Bonn"}')]
    process = await send(await node(), context={"output_schema": SCHEMA})
    assert json.loads(process.reply or "") == {"city": "Bonn"}
    assert "json_schema" in json.dumps(model.requests[0]["response_format"])


async def test_answer_that_is_no_json_is_sent_back(node, model: Vendor) -> None:
    model.script = [Answer("Bonn, I think."), Answer('```json\n{"city": "Bonn"}\n```')]
    process = await send(await node(), context={"output_schema": SCHEMA})
    assert json.loads(process.reply or "") == {"city": "Bonn"}
    assert [message["role"] for message in told(model)] == ["system", "user", "assistant", "user"]
    assert "JSON only" in told(model)[-1]["content"]


async def test_answers_that_never_are_json_end_the_request(node, model: Vendor) -> None:
    model.script = [Answer("Bonn, I think.")]
    process = await send(await node(), context={"output_schema": SCHEMA})
    assert process.reason == "llm_error"
    assert process.error == "none of 3 answers of the model is JSON"
    assert len(model.requests) == 3


async def test_reply_that_is_cut_before_it_says_anything_is_no_answer(node, model: Vendor) -> None:
    model.script = [Answer("", finish="length"), Answer("Half an", finish="length")]
    here = await node(quota={"max_output_tokens": 77})
    process = await send(here)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "llm_error")
    assert "used up its 77 tokens before it answered" in (process.error or "")
    assert ((await send(here)).reply or "").strip() == "Half an"


async def test_schema_that_is_none_is_the_callers_mistake(node, model: Vendor) -> None:
    process = await send(await node(), context={"output_schema": "city"})
    assert process.reason == "invalid_input"
    assert model.requests == []


async def test_failure_of_the_model_ends_the_request_with_its_reason(node, model: Vendor) -> None:
    model.script = [OPENAI_ERRORS["auth"]]
    process = await send(await node())
    assert (process.outcome, process.reason) == (Outcome.FAILED, "llm_error")
    assert process.error == "openai does not accept the credentials (status 401)"
