"""OpenAI, Azure and Anthropic, through the wire: real clients against servers that speak as they
do."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from email.utils import formatdate
from math import ceil
from typing import Any

import pytest
from vendors import ANTHROPIC_ERRORS, OPENAI_ERRORS, TOKENS, Answer, Vendor, serving

from mission_system.core.errors import LLMError
from mission_system.core.llm.credentials import Credentials
from mission_system.core.llm.provider import (
    LLMChunk,
    LLMMessage,
    LLMProvider,
    LLMRequest,
    LLMTool,
    LLMToolCall,
    LLMUsage,
    closing,
)
from mission_system.core.llm.vendors import load_anthropic, load_azure, load_openai

LOOK = LLMTool(
    "look",
    "Look something up",
    {
        "type": "object",
        "properties": {"what": {"type": "string"}, "limit": {"type": "integer", "default": 5}},
        "required": ["what"],
    },
)
ASKED = LLMRequest((LLMMessage("system", "Be brief."), LLMMessage("user", "Hi")))


@dataclass
class Case:
    vendor: Vendor
    provider: LLMProvider
    name: str


@pytest.fixture(scope="module")
def server() -> Iterator[Vendor]:
    with serving(Vendor()) as vendor:
        yield vendor


@pytest.fixture(params=["openai", "azure", "anthropic"])
async def case(request: pytest.FixtureRequest, server: Vendor) -> AsyncIterator[Case]:
    server.script = [Answer()]
    for seen in (server.requests, server.headers, server.paths, server.queries):
        seen.clear()
    server.closed.clear()
    credentials = Credentials.model_validate(
        {
            "openai_api_key": "sk-s3cret",
            "openai_base_url": f"{server.url}/v1",
            "anthropic_api_key": "sk-s3cret",
            "anthropic_base_url": server.url,
            "azure_openai_endpoint": server.url,
            "azure_openai_api_key": "sk-s3cret",
            "azure_openai_deployment": "mine",
        }
    )
    load = {"openai": load_openai, "azure": load_azure, "anthropic": load_anthropic}
    provider = load[request.param](credentials)
    yield Case(server, provider, request.param)
    await provider.close()


async def read(provider: LLMProvider, request: LLMRequest) -> list[LLMChunk]:
    return [chunk async for chunk in provider.stream(request)]


async def test_reply_comes_with_its_usage_and_model(case: Case) -> None:
    reply = await case.provider.complete(ASKED)
    assert reply.text.strip() == "Hello from the model."
    assert reply.usage == LLMUsage(*TOKENS)
    assert reply.finish == "stop"
    assert reply.model


async def test_reply_is_streamed_as_it_comes_and_ends_with_its_usage(case: Case) -> None:
    *pieces, last = await read(case.provider, ASKED)
    assert [piece.text for piece in pieces if piece.text] == ["Hello ", "from ", "the ", "model. "]
    assert (last.text, last.usage, last.finish) == ("", LLMUsage(*TOKENS), "stop")


async def test_request_carries_prompt_cap_parameters_and_model(case: Case) -> None:
    request = LLMRequest(
        ASKED.messages, max_output_tokens=77, model="m-1", parameters={"temperature": 0.5}
    )
    reply = await case.provider.complete(request)
    [sent] = case.vendor.requests
    assert sent["temperature"] == 0.5
    assert 77 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
    assert "Be brief." in json.dumps(sent)
    assert reply.model == "m-1"
    assert sent["model"] == "m-1"


async def test_key_goes_into_its_header(case: Case) -> None:
    await case.provider.complete(ASKED)
    [headers] = case.vendor.headers
    names = {"openai": "authorization", "azure": "api-key", "anthropic": "authorization"}
    assert "sk-s3cret" in headers[names[case.name]]


@pytest.mark.parametrize("streamed", [False, True])
async def test_each_is_asked_at_its_own_address(case: Case, streamed: bool) -> None:
    await (read(case.provider, ASKED) if streamed else case.provider.complete(ASKED))
    addresses: dict[str, tuple[str, dict[str, str]]] = {
        "openai": ("/v1/chat/completions", {}),
        "azure": ("/openai/deployments/mine/chat/completions", {"api-version": "2024-10-21"}),
        "anthropic": ("/v1/messages", {}),
    }
    assert (case.vendor.paths[0], case.vendor.queries[0]) == addresses[case.name]
    assert len(case.vendor.paths) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_tool_calls_come_whole(case: Case, streamed: bool) -> None:
    case.vendor.script = [
        Answer(text="Let me see.", calls=[("look", {"what": "Ö"}), ("look", {"what": "b"})])
    ]
    request = LLMRequest(ASKED.messages, tools=(LOOK,))
    if streamed:
        *_, last = await read(case.provider, request)
        calls, finish = last.tool_calls, last.finish
    else:
        reply = await case.provider.complete(request)
        calls, finish = reply.tool_calls, reply.finish
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("look", {"what": "Ö"}),
        ("look", {"what": "b"}),
    ]
    assert len({call.id for call in calls}) == 2
    assert finish == "tool_calls"
    assert '"what"' in json.dumps(case.vendor.requests[0]["tools"])


async def test_results_of_tools_go_back_to_the_calls_that_asked(case: Case) -> None:
    call = LLMToolCall("id-1", "look", '{"what": "a"}')
    broken = LLMToolCall("id-2", "look", "{not json")
    messages = (
        *ASKED.messages,
        LLMMessage("assistant", "", (call, broken)),
        LLMMessage("tool", "found it", call_id="id-1"),
        LLMMessage("tool", "no arguments", call_id="id-2"),
    )
    await case.provider.complete(LLMRequest(messages, tools=(LOOK,)))
    sent = json.dumps(case.vendor.requests[0]["messages"])
    assert "found it" in sent
    assert sent.count("id-1") == sent.count("id-2") == 2
    assert "{not json" in sent


async def test_output_schema_reaches_the_model(case: Case) -> None:
    case.vendor.script = [Answer(text='{"city":"Bonn"}')]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    }
    reply = await case.provider.complete(LLMRequest(ASKED.messages, output_schema=schema))
    assert json.loads(reply.text) == {"city": "Bonn"}
    assert "city" in json.dumps(case.vendor.requests[0])


async def test_reply_cut_by_the_cap_says_so(case: Case) -> None:
    case.vendor.script = [Answer(finish="length")]
    assert (await case.provider.complete(ASKED)).finish == "length"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", list(OPENAI_ERRORS))
async def test_failure_is_told_by_its_kind(case: Case, kind: str, streamed: bool) -> None:
    answers = ANTHROPIC_ERRORS if case.name == "anthropic" else OPENAI_ERRORS
    case.vendor.script = [deepcopy(answers[kind])]
    ask = read(case.provider, ASKED) if streamed else case.provider.complete(ASKED)
    with pytest.raises(LLMError) as caught:
        await ask
    assert caught.value.kind == kind
    assert caught.value.provider == case.name
    assert caught.value.retry_after == (7 if kind == "rate_limited" else None)
    assert ("try again in 7 seconds" in caught.value.message) == (kind == "rate_limited")
    assert "s3cret" not in caught.value.message
    assert len(case.vendor.requests) == 1  # nobody but the mission tries again


@pytest.mark.parametrize("streamed", [False, True])
async def test_time_to_try_again_may_be_a_date(case: Case, streamed: bool) -> None:
    answers = ANTHROPIC_ERRORS if case.name == "anthropic" else OPENAI_ERRORS
    limited = deepcopy(answers["rate_limited"])
    limited.headers["retry-after"] = formatdate(time.time() + 3600, usegmt=True)
    case.vendor.script = [limited]
    with pytest.raises(LLMError) as caught:
        await (read(case.provider, ASKED) if streamed else case.provider.complete(ASKED))
    wait = caught.value.retry_after
    assert wait is not None
    assert 3000 < wait <= 3600
    assert f"try again in {ceil(wait)} seconds" in caught.value.message


@pytest.mark.parametrize("kind", ["rate_limited", "unavailable"])
async def test_failure_in_the_middle_of_a_stream_is_told_by_its_kind(case: Case, kind: str) -> None:
    answers = ANTHROPIC_ERRORS if case.name == "anthropic" else OPENAI_ERRORS
    case.vendor.script = [Answer(cut=2, error=answers[kind].error)]
    pieces: list[str] = []

    async def listen() -> None:
        async for chunk in case.provider.stream(ASKED):
            pieces.append(chunk.text)

    with pytest.raises(LLMError) as caught:
        await listen()
    assert pieces == ["Hello ", "from "]
    assert caught.value.kind == kind


async def test_what_a_reply_has_taken_that_fails_all_the_same_is_told(case: Case) -> None:
    lost: list[LLMUsage] = []
    request = replace(ASKED, model="m", lost=lambda model, usage: lost.append(usage))
    case.vendor.script = [Answer(text="", finish="content_filter")]
    for ask in (case.provider.complete, lambda request: read(case.provider, request)):
        with pytest.raises(LLMError, match="refused"):
            await ask(request)
    assert lost == [LLMUsage(*TOKENS)] * 2
    lost.clear()
    case.vendor.script = [Answer(cut=2)]
    with pytest.raises(LLMError, match="broke off"):
        await read(case.provider, request)
    # Only Anthropic counts from the beginning.
    assert lost == ([LLMUsage(TOKENS[0], 1)] if case.name == "anthropic" else [])
    lost.clear()
    case.vendor.script = [Answer()]
    await read(case.provider, request)
    await case.provider.complete(request)
    assert lost == []


@pytest.mark.parametrize("case", ["openai", "azure"], indirect=True)
@pytest.mark.parametrize("streamed", [False, True])
async def test_prompt_that_a_filter_finds_is_refused(case: Case, streamed: bool) -> None:
    error = {
        "error": {
            "message": "The response was filtered due to the prompt triggering the policy.",
            "type": None,
            "param": "prompt",
            "code": "content_filter",
            "status": 400,
            "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
        }
    }
    case.vendor.script = [Answer(status=400, error=error)]
    with pytest.raises(LLMError) as caught:
        await (read(case.provider, ASKED) if streamed else case.provider.complete(ASKED))
    assert caught.value.kind == "refused"


async def test_nobody_listening_is_unavailable(case: Case) -> None:
    credentials = Credentials.model_validate(
        {
            "openai_api_key": "k",
            "openai_base_url": "http://127.0.0.1:1/v1",
        }
    )
    provider = load_openai(credentials)
    with pytest.raises(LLMError, match="cannot be reached") as caught:
        await provider.complete(ASKED)
    assert caught.value.kind == "unavailable"
    await provider.close()


@pytest.mark.parametrize("clean", [False, True])
async def test_stream_that_breaks_off_is_unavailable_and_never_a_short_reply(
    case: Case, clean: bool
) -> None:
    case.vendor.script = [Answer(cut=2, clean_cut=clean)]
    pieces: list[str] = []

    async def listen() -> None:
        async for chunk in case.provider.stream(ASKED):
            pieces.append(chunk.text)

    with pytest.raises(LLMError, match="broke off") as caught:
        await listen()
    assert pieces == ["Hello ", "from "]
    assert caught.value.kind == "unavailable"


@pytest.mark.parametrize("streamed", [False, True])
async def test_server_that_does_not_answer_in_time_is_unavailable(
    case: Case, streamed: bool
) -> None:
    case.vendor.script = [Answer(delay=300)]
    hasty = LLMRequest(ASKED.messages, timeout=0.2)
    with pytest.raises(LLMError, match="in time") as caught:
        await (read(case.provider, hasty) if streamed else case.provider.complete(hasty))
    assert caught.value.kind == "unavailable"
    assert await asyncio.to_thread(case.vendor.closed.wait, 30)


async def test_stream_that_stops_without_an_end_is_unavailable(case: Case) -> None:
    gate = threading.Event()
    case.vendor.script = [Answer(gate=gate)]
    try:
        with pytest.raises(LLMError, match="in time") as caught:
            await read(case.provider, LLMRequest(ASKED.messages, timeout=0.5))
        assert caught.value.kind == "unavailable"
        assert await asyncio.to_thread(case.vendor.closed.wait, 30)
    finally:
        gate.set()


async def test_cancelling_a_whole_reply_closes_its_connection(case: Case) -> None:
    case.vendor.script = [Answer(delay=300)]
    asking = asyncio.create_task(case.provider.complete(ASKED))
    while not case.vendor.requests:
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await asyncio.to_thread(case.vendor.closed.wait, 30)


async def test_leaving_a_slow_stream_closes_its_connection(case: Case) -> None:
    gate = threading.Event()
    case.vendor.script = [Answer(gate=gate)]
    try:
        async with closing(case.provider.stream(ASKED)) as chunks:
            assert (await anext(chunks)).text == "Hello "
        assert await asyncio.to_thread(case.vendor.closed.wait, 30)
    finally:
        gate.set()


async def test_cancelling_a_slow_stream_closes_its_connection(case: Case) -> None:
    gate = threading.Event()
    case.vendor.script = [Answer(gate=gate)]
    begun = asyncio.Event()

    async def listen() -> None:
        async with closing(case.provider.stream(ASKED)) as chunks:
            async for _ in chunks:
                begun.set()

    listening = asyncio.create_task(listen())
    try:
        await begun.wait()
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        assert await asyncio.to_thread(case.vendor.closed.wait, 30)
    finally:
        gate.set()
