"""Missions and real clients of models: retries, fallbacks and breaking off, through the wire."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
from vendors import OPENAI_ERRORS, TOKENS, Answer, Vendor, serving

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import Forbidden, QuotaExceeded
from mission_system.core.identity import Caller
from mission_system.core.llm.factory import LLMFactory
from mission_system.core.llm.mock import MockProvider
from mission_system.core.llm.provider import LLMChunk, LLMReply, LLMRequest, LLMTool, LLMUsage
from mission_system.core.node import Node
from mission_system.core.runtime import MissionRuntime
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import OUT_OF_TIME, Quota
from mission_system.plugins.builtin import models

ANN = Caller("ann")
FALLBACK = {"default": {"fallbacks": [{"provider": "anthropic", "model": "claude"}]}}


@pytest.fixture
def openai() -> Iterator[Vendor]:
    with serving(Vendor()) as vendor:
        yield vendor


@pytest.fixture
def anthropic() -> Iterator[Vendor]:
    with serving(Vendor()) as vendor:
        vendor.script = [Answer("From the other one.")]
        yield vendor


@pytest.fixture
def use_vendors(
    openai: Vendor, anthropic: Vendor, monkeypatch: pytest.MonkeyPatch
) -> Callable[[MissionRuntime], None]:
    for name, vendor, path in (("OPENAI", openai, "/v1"), ("ANTHROPIC", anthropic, "")):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-s3cret")
        monkeypatch.setenv(f"{name}_BASE_URL", vendor.url + path)

    def use(runtime: MissionRuntime) -> None:
        factory = LLMFactory(runtime.settings)
        for name, make in models.register_llm_providers().items():
            factory.register(name, make)
        object.__setattr__(runtime, "mock_provider", None)
        object.__setattr__(runtime, "llm_provider_factory", factory)

    return use


@pytest.fixture
def run(start_node, send, use_vendors: Callable[[MissionRuntime], None]) -> Callable[..., Any]:
    async def run(streamed: bool = True, **settings: Any) -> tuple[Node, Any]:
        async def work(mission: Mission) -> str:
            model = mission.llm("writer")
            return (await (model.stream("hi") if streamed else model.complete("hi"))).text

        given = {"llm_provider": "openai", "llm_model": "gpt"}
        node = await start_node(work, **given | settings)
        use_vendors(node.runtime)
        return node, await send(node, wait=60)

    return run


@pytest.mark.parametrize("streamed", [False, True])
async def test_reply_and_its_tokens_arrive(run, openai: Vendor, streamed: bool) -> None:
    _, process = await run(streamed)
    assert process.reply.strip() == "Hello from the model."
    assert (process.usage.tokens_in, process.usage.tokens_out) == TOKENS


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", ["unavailable", "rate_limited"])
async def test_failure_that_may_pass_is_tried_again(
    run, ann, openai: Vendor, kind: str, streamed: bool
) -> None:
    error = deepcopy(OPENAI_ERRORS[kind])
    error.headers = {"retry-after": "0.01"} if error.headers else {}
    openai.script = [error, error, Answer()]
    node, process = await run(streamed)
    assert process.reply.strip() == "Hello from the model."
    assert len(openai.requests) == 3
    [step] = await node.tower.steps(ann, process.pid)
    assert (step.status, step.attempt, process.usage.llm_calls) == ("completed", 3, 3)


@pytest.mark.parametrize("kind", ["auth", "context_too_long", "refused", "invalid"])
async def test_failure_that_will_not_pass_ends_the_call(run, openai: Vendor, kind: str) -> None:
    openai.script = [OPENAI_ERRORS[kind]]
    _, process = await run()
    assert (process.outcome, process.reason) == ("failed", "llm_error")
    assert "s3cret" not in process.error
    assert len(openai.requests) == 1


async def test_a_wait_that_is_too_long_is_not_waited_for(run, openai: Vendor) -> None:
    limited = OPENAI_ERRORS["rate_limited"]
    openai.script = [Answer(status=429, headers={"retry-after": "600"}, error=limited.error)]
    _, process = await run()
    assert "limits the rate" in process.error
    assert len(openai.requests) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_second_provider_replies_in_place_of_the_first(
    run, openai: Vendor, anthropic: Vendor, streamed: bool
) -> None:
    openai.script = [OPENAI_ERRORS["auth"]]
    _, process = await run(streamed, llm_roles=FALLBACK)
    assert process.reply.strip() == "From the other one."
    assert [request["model"] for request in anthropic.requests] == ["claude"]
    assert process.usage.llm_calls == 1


async def test_stream_that_breaks_off_begins_again_with_the_second_provider(
    run, told, openai: Vendor, anthropic: Vendor
) -> None:
    openai.script = [Answer(cut=2)]
    node, process = await run(llm_roles=FALLBACK)
    assert process.reply.strip() == "From the other one."
    assert (len(openai.requests), len(anthropic.requests)) == (1, 1)
    events = await told(node, process)
    assert [event.payload["attempt"] for event in events if event.type == "llm.restarted"] == [2]
    texts: dict[int, str] = {}
    for event in events:
        if event.type == "llm.delta":
            attempt = event.payload["attempt"]
            assert event.payload["offset"] == len(texts.get(attempt, ""))
            texts[attempt] = texts.get(attempt, "") + event.payload["text"]
    assert texts == {1: "Hello from ", 2: "From the other one. "}


async def test_provider_that_keeps_failing_is_not_asked_any_more(
    run, send, openai: Vendor, anthropic: Vendor
) -> None:
    openai.script = [OPENAI_ERRORS["unavailable"]]
    node, _ = await run(llm_roles=FALLBACK, llm_breaker_failures=2)
    for _ in range(3):
        assert (await send(node, wait=60)).reply.strip() == "From the other one."
    assert (len(openai.requests), len(anthropic.requests)) == (2, 4)


@dataclass
class Plan:
    """What is extracted."""

    city: str
    days: int


@pytest.fixture
def extract(start_node, send, use_vendors: Callable[[MissionRuntime], None]) -> Callable[..., Any]:
    async def extract() -> Any:
        async def work(mission: Mission) -> str:
            plan = await mission.llm("planner").extract("Plan a trip.", Plan)
            await mission.clarify("Go?")
            return f"{plan.days} days in {plan.city}"

        node = await start_node(work, llm_provider="openai")
        use_vendors(node.runtime)
        process = await send(node, wait=60)
        if process.pending is None:
            return process
        return await node.tower.resume_request(ANN, process.pending.id, "yes", wait=60)

    return extract


@pytest.mark.parametrize(
    "text", ['{"city":"Bonn","days":3}', '```json\n{"city":"Bonn","days":3}\n```']
)
async def test_a_reply_is_extracted_as_its_type_and_replayed(
    extract, openai: Vendor, text: str
) -> None:
    openai.script = [Answer(text)]
    assert (await extract()).reply == "3 days in Bonn"
    [asked] = openai.requests
    assert asked["response_format"]["json_schema"]["schema"]["required"] == ["city", "days"]


async def test_a_reply_that_does_not_fit_is_sent_back(extract, openai: Vendor) -> None:
    openai.script = [
        Answer("I would go to Bonn."),
        Answer('{"city":"Bonn","days":"many"}'),
        Answer('{"city":"Bonn","days":3}'),
    ]
    assert (await extract()).reply == "3 days in Bonn"
    assert "days" in openai.requests[-1]["messages"][-1]["content"]


async def test_replies_that_never_fit_are_an_error(extract, openai: Vendor) -> None:
    openai.script = [Answer("No.")]
    process = await extract()
    assert process.reason == "llm_error"
    assert "none of 3 replies" in process.error
    assert len(openai.requests) == 3


async def test_tool_calls_and_cut_replies_are_replayed_as_they_were(
    start_node, send, use_vendors: Callable[[MissionRuntime], None], openai: Vendor
) -> None:
    openai.script = [Answer("See.", calls=[("look", {"a": 1})]), Answer("Long", finish="length")]
    tool = LLMTool("look", "Look", {"type": "object", "properties": {}})
    seen: list[list[LLMReply]] = []

    async def work(mission: Mission) -> str:
        model = mission.llm()
        seen.append([await model.ask("hi", tools=[tool]), await model.ask("hi", streamed=False)])
        await mission.clarify("Go?")
        return "done"

    node = await start_node(work, llm_provider="openai")
    use_vendors(node.runtime)
    process = await send(node, wait=60)
    await node.tower.resume_request(ANN, process.pending.id, "yes", wait=60)
    first, again = seen
    assert first == again
    assert [(reply.text.strip(), reply.finish) for reply in again] == [
        ("See.", "tool_calls"),
        ("Long", "length"),
    ]
    assert [(call.name, call.arguments) for call in again[0].tool_calls] == [("look", '{"a": 1}')]
    assert len(openai.requests) == 2


async def test_tokens_and_cost_are_counted_by_step_process_user_and_model(
    run, ann, told, openai: Vendor, anthropic: Vendor
) -> None:
    prices = {"openai/gpt": {"input": 2, "output": 10}, "anthropic/*": {"output": 1}}
    cost = TOKENS[0] * 2000 + TOKENS[1] * 10_000
    node, process = await run(llm_prices=prices)
    [step] = await node.tower.steps(ann, process.pid)
    assert (step.model, step.cost) == ("openai/gpt", cost)
    assert process.usage.cost == cost
    assert (await node.tower.get(ann, process.pid)).usage.cost == cost
    total = await node.tower.usage(ann)
    assert (total.tokens_in, total.tokens_out, total.cost) == (*TOKENS, cost)
    [used] = await node.tower.model_usage(ann)
    assert (used.model, used.calls, used.tokens_in, used.cost) == (
        "openai/gpt", 1, TOKENS[0], cost / 1e9
    )  # fmt: skip
    assert await node.tower.model_usage(Caller("bob")) == []
    [done] = [event for event in await told(node, process) if event.type == "llm.completed"]
    assert (done.payload["model"], done.payload["cost"]) == ("openai/gpt", cost / 1e9)


async def test_attempts_that_fail_count_as_far_as_vendors_say(
    run, ann, told, openai: Vendor, anthropic: Vendor
) -> None:
    anthropic.script = [Answer(cut=2), Answer()]
    roles = {"default": {"provider": "anthropic", "fallbacks": [{"provider": "openai"}]}}
    prices = {"anthropic/*": {"input": 1}, "openai/gpt": {"output": 3}}
    node, process = await run(llm_roles=roles, llm_prices=prices, llm_attempts=1)
    assert process.reason == "llm_error"
    [step] = await node.tower.steps(ann, process.pid)
    assert (step.status, step.tokens_in, step.tokens_out) == ("failed", TOKENS[0], 1)
    assert step.cost == process.usage.cost == TOKENS[0] * 1000
    [used] = await node.tower.model_usage(ann)
    assert (used.model, used.calls, used.tokens_in) == (step.model, 1, TOKENS[0])
    [done] = [event for event in await told(node, process) if event.type == "llm.completed"]
    assert (done.payload["tokens_in"], done.payload["model"]) == (TOKENS[0], step.model)


async def test_reply_after_one_that_broke_off_has_its_own_model_and_both_count(
    run, ann, openai: Vendor, anthropic: Vendor
) -> None:
    anthropic.script = [Answer(cut=2)]
    roles = {"default": {"provider": "anthropic", "fallbacks": [{"provider": "openai"}]}}
    prices = {"anthropic/*": {"input": 1}, "openai/*": {"output": 3}}
    node, process = await run(llm_roles=roles, llm_prices=prices)
    assert process.reply.strip() == "Hello from the model."
    [step] = await node.tower.steps(ann, process.pid)
    assert (step.tokens_in, step.tokens_out) == (2 * TOKENS[0], 1 + TOKENS[1])
    assert step.model.startswith("openai/")
    assert step.cost == TOKENS[0] * 1000 + TOKENS[1] * 3000
    used = {each.model.partition("/")[0]: each for each in await node.tower.model_usage(ann)}
    assert used["anthropic"].tokens_out == 1
    assert (used["openai"].tokens_in, used["openai"].cost) == (TOKENS[0], TOKENS[1] * 3 / 1e6)
    assert (await node.tower.usage(ann)).cost == step.cost


async def test_usage_of_several_models_is_listed_with_the_most_expensive_first(
    run, send, openai: Vendor, anthropic: Vendor
) -> None:
    prices = {"openai/*": {"input": 1}, "anthropic/claude": {"input": 50}}
    node, _ = await run(llm_prices=prices, llm_roles=FALLBACK)
    await send(node, wait=60)
    openai.script = [OPENAI_ERRORS["auth"]]
    await send(node, wait=60)
    used = await node.tower.system_model_usage(Caller("root", "admin"))
    assert [(each.model, each.calls) for each in used] == [
        ("anthropic/claude", 1),
        ("openai/gpt", 2),
    ]
    with pytest.raises(Forbidden):
        await node.tower.system_model_usage(ANN)


async def test_what_a_child_spends_is_its_parents_cost_and_counted_once(
    start_node, send, ann, use_vendors: Callable[[MissionRuntime], None], openai: Vendor
) -> None:
    async def parent(mission: Mission) -> str:
        return (await mission.spawn("child", "go")).text

    async def child(mission: Mission) -> str:
        return (await mission.llm().complete("hi")).text

    node = await start_node(
        parent, child, llm_provider="openai", llm_prices={"openai/*": {"input": 1}}
    )
    use_vendors(node.runtime)
    process = await send(node, wait=60)
    assert process.usage.cost == TOKENS[0] * 1000
    assert (await node.tower.usage(ann)).cost == TOKENS[0] * 1000
    [used] = await node.tower.model_usage(ann)
    assert used.calls == 1


async def test_the_mock_is_nobodys_model_and_costs_nothing(start_node, send, ann) -> None:
    async def work(mission: Mission) -> str:
        return (await mission.llm().stream("hi")).text

    node = await start_node(work, llm_prices={"mock/*": {"input": 1}})
    process = await send(node)
    [step] = await node.tower.steps(ann, process.pid)
    assert (step.model, step.cost, process.usage.cost) == (None, 0, 0)
    assert await node.tower.model_usage(ann) == []


# replies that are cut off

CUT = (TOKENS[0], 1)
"""What Anthropic has counted of a reply when its first word comes."""
PRICES = {"anthropic/*": {"input": 1, "output": 5}}
COST = CUT[0] * 1000 + CUT[1] * 5000


@pytest.fixture
def begin(
    start_node, send, anthropic: Vendor, use_vendors: Callable[[MissionRuntime], None]
) -> Iterator[Callable[..., Any]]:
    """Starts a process whose reply stops after its first word, and waits until that is stored."""
    gate = threading.Event()

    async def begin(*work: Any, first: Sequence[Answer] = (), **settings: Any) -> tuple[Node, Any]:
        anthropic.script = [*first, Answer(gate=gate)]
        given = {"llm_provider": "anthropic", "llm_model": "claude", "llm_prices": PRICES}
        node = await start_node(*work, **given | settings)
        use_vendors(node.runtime)
        process = await send(node, wait=None)
        await until(node, "SELECT 1 FROM event WHERE type = 'llm.delta'")
        return node, process

    yield begin
    gate.set()


async def until(node: Node, sql: str) -> None:
    async with asyncio.timeout(60):
        while not await node.database.fetch_all(sql):
            await asyncio.sleep(0.01)


async def streams(mission: Mission) -> str:
    return (await mission.llm().stream("hi")).text


async def counted(node: Node, tokens: tuple[int, int], cost: int, calls: int = 1) -> None:
    """All have the same: the steps, the processes, the user, the session and the model."""
    for of in ("step", "process WHERE parent_pid IS NULL", "usage", "model_usage"):
        sums = ", ".join(
            f"CAST(SUM({name}) AS BIGINT)" for name in ("tokens_in", "tokens_out", "cost")
        )
        row = await node.database.fetch_one(f"SELECT {sums} FROM {of}")
        assert row is not None
        assert (row[0], row[1], row[2]) == (*tokens, cost), of
    [model] = await node.tower.model_usage(ANN)
    assert (model.model, model.calls) == ("anthropic/claude", calls)
    assert await node.tower.system_model_usage(Caller("root", "admin")) == [model]
    total = await node.tower.usage(ANN)
    assert (total.tokens_in, total.tokens_out, total.cost) == (*tokens, cost)


async def test_reply_counts_while_it_comes(begin, ann) -> None:
    node, process = await begin(streams)
    await counted(node, CUT, COST)
    [step] = await node.tower.steps(ann, process.pid)
    assert (step.status, step.model, step.cost) == ("started", "anthropic/claude", COST)


@pytest.mark.parametrize(
    "chunks",
    [
        [("", LLMUsage(10, 1)), ("", LLMUsage(10, 5)), ("acme/x", LLMUsage(10, 5))],
        [("acme/x", LLMUsage(10, 1)), ("acme/x", LLMUsage(10, 5)), ("acme/x", LLMUsage())],
        [("acme/x", LLMUsage(10, 5)), ("", None)],
    ],
    ids=["names its model last", "ends with no usage", "ends without a word"],
)
async def test_reply_counts_once_whenever_its_provider_says_what(
    start_node, send, chunks: list[tuple[str, LLMUsage | None]]
) -> None:
    class Plugin(MockProvider):
        async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
            for model, usage in chunks:
                yield LLMChunk("a", usage=usage, model=model)

    async def work(mission: Mission) -> str:
        return (await mission.llm().stream("hi")).text

    node = await start_node(work)
    object.__setattr__(node.runtime, "mock_provider", Plugin())
    process = await send(node)
    assert process.reply == "a" * len(chunks)
    [step] = await node.tower.steps(ANN, process.pid)
    [model] = await node.tower.model_usage(ANN)
    total = await node.tower.usage(ANN)
    for counted in (step, process.usage, model, total):
        assert (counted.tokens_in, counted.tokens_out) == (10, 5)
    assert (model.model, model.calls) == ("acme/x", 1)


async def test_call_that_the_quota_refuses_is_none_of_it(start_node, send) -> None:
    counts = []

    async def asks(mission: Mission) -> str:
        with contextlib.suppress(QuotaExceeded):
            await mission.llm().complete("x" * 400)
        await mission.llm().complete("hi")
        counts.append(mission.llm_calls)
        await mission.clarify("?")
        counts.append(mission.llm_calls)
        return "done"

    node = await start_node(OrchestratorSpec("asks", asks, quota=Quota(max_input_tokens=50)))
    process = await send(node)
    await node.tower.resume_request(ANN, process.pending.id, "yes")
    process = await node.tower.wait(ANN, process.pid, 30)
    assert (process.reply, process.usage.llm_calls) == ("done", 1)
    assert set(counts) == {1}


async def test_reply_that_the_time_limit_cuts_off_counts(begin, ann) -> None:
    node, process = await begin(streams)
    await node.tower.adjust_quota(ann, process.pid, timeout_seconds=0.01)
    process = await node.tower.wait(ann, process.pid, 60)
    assert (process.reason, process.usage.cost) == (OUT_OF_TIME, COST)
    await counted(node, CUT, COST)


async def test_reply_that_its_provider_is_too_late_with_counts(begin, ann) -> None:
    node, process = await begin(streams, llm_timeout_seconds=1, llm_attempts=1)
    process = await node.tower.wait(ann, process.pid, 60)
    assert (process.reason, process.usage.cost) == ("llm_error", COST)
    await counted(node, CUT, COST)


async def test_reply_that_the_orchestrator_gives_up_counts(begin, ann) -> None:
    async def work(mission: Mission) -> str:
        async with asyncio.timeout(None) as limit:
            told = asyncio.create_task(hear(limit))
            try:
                return await streams(mission)
            finally:
                told.cancel()

    async def hear(limit: asyncio.Timeout) -> None:
        await given_up.wait()
        limit.reschedule(0)

    async def gives_up(mission: Mission) -> str:
        try:
            return await work(mission)
        except TimeoutError:
            return "gave up"

    given_up = asyncio.Event()
    node, process = await begin(gives_up)
    given_up.set()
    assert (await node.tower.wait(ann, process.pid, 60)).reply == "gave up"
    await counted(node, CUT, COST)


async def test_reply_that_a_stop_of_the_server_cuts_off_counts_and_the_next_one_too(
    begin, start_node, told, ann, anthropic: Vendor, use_vendors: Callable[[MissionRuntime], None]
) -> None:
    node, process = await begin(streams, shutdown_seconds=0)
    await node.stop()
    anthropic.script = [Answer()]
    given = {"llm_provider": "anthropic", "llm_model": "claude", "llm_prices": PRICES}
    node = await start_node(streams, prepare=use_vendors, **given)  # it goes on at once
    process = await node.tower.wait(ann, process.pid, 60)
    assert process.outcome == "completed"
    cost = COST + TOKENS[0] * 1000 + TOKENS[1] * 5000
    await counted(node, (CUT[0] + TOKENS[0], CUT[1] + TOKENS[1]), cost, calls=2)
    [step] = await node.tower.steps(ann, process.pid)
    assert (step.status, step.attempt, step.cost) == ("completed", 2, cost)
    [done] = [event for event in await told(node, process) if event.type == "llm.completed"]
    assert (done.payload["tokens_in"], done.payload["cost"]) == (step.tokens_in, cost / 1e9)


@pytest.mark.parametrize("of", ["process", "parent"])
async def test_reply_that_a_cancellation_cuts_off_counts(begin, ann, of: str) -> None:
    async def parent(mission: Mission) -> str:
        return (await mission.spawn("streams", "go")).text

    node, process = await begin(*([streams] if of == "process" else [parent, streams]))
    cancelled = await node.tower.cancel_request(ann, process.pid)
    assert cancelled.outcome == "cancelled"
    assert (await node.tower.get(ann, process.pid)).usage.cost == COST
    await counted(node, CUT, COST)


async def test_reply_that_is_cut_off_counts_for_the_budget_of_the_day(begin, send, ann) -> None:
    node, process = await begin(streams, max_tokens_per_day=sum(CUT))
    await node.tower.cancel_request(ann, process.pid)
    assert (await send(node, wait=60)).reason == "max_tokens_per_day_exceeded"


async def test_attempt_that_broke_off_counts_once_when_the_next_one_is_cut_off(begin, ann) -> None:
    node, process = await begin(streams, first=[Answer(cut=2)])
    await until(node, f"SELECT 1 FROM step WHERE attempt = 2 AND tokens_in > {CUT[0]}")
    await node.tower.cancel_request(ann, process.pid)
    await counted(node, (2 * CUT[0], 2 * CUT[1]), 2 * COST, calls=2)


async def test_whole_reply_that_nobody_reads_to_its_end_counts_once(run, ann, anthropic) -> None:
    anthropic.script = [Answer("word " * 100)]
    node, process = await run(
        llm_provider="anthropic",
        llm_model="claude",
        llm_prices=PRICES,
        quota={"max_output_tokens": 1},
    )
    assert process.outcome == "completed"
    assert len(process.reply) == 16
    await counted(node, CUT, COST)
