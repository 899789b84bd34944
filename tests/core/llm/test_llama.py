"""A real llama.cpp: in another server (`llamaserver`), and in this process (`llamacpp`)."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_model import write_tiny_model

from mission_system.core.errors import LLMError
from mission_system.core.health.models import models_check
from mission_system.core.llm.credentials import Credentials
from mission_system.core.llm.provider import (
    LLMChunk,
    LLMMessage,
    LLMProvider,
    LLMRequest,
    LLMTool,
    closing,
)
from mission_system.core.llm.vendors import load_llamacpp, load_llamaserver

xllamacpp: Any = importlib.import_module("xllamacpp")  # has no types

CONTEXT = 512
LONG = 400  # tokens that take a while, even of a tiny model


def asking(text: str = "Hi", tokens: int = 12, **more: Any) -> LLMRequest:
    return LLMRequest((LLMMessage("user", text),), max_output_tokens=tokens, **more)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_tiny_model(path)
    return path


def serve(model: Path) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = CONTEXT
    params.n_parallel = 1
    params.port = 0
    params.verbosity = 1
    return xllamacpp.Server(params)


@pytest.fixture(scope="module")
def llama_server(model: Path) -> Iterator[str]:
    server = serve(model)
    yield server.listening_address
    del server  # which stops it


@pytest.fixture(params=["llamaserver", "llamacpp"])
async def provider(
    request: pytest.FixtureRequest, model: Path, llama_server: str
) -> AsyncIterator[LLMProvider]:
    credentials = Credentials(
        llamaserver_host=llama_server,
        llamacpp_model_path=str(model),
        llamacpp_context=CONTEXT,
        llamacpp_parallel=1,
    )
    load = {"llamaserver": load_llamaserver, "llamacpp": load_llamacpp}[request.param]
    made = await asyncio.to_thread(load, credentials)
    yield made
    await made.close()


async def read(provider: LLMProvider, request: LLMRequest) -> list[LLMChunk]:
    return [chunk async for chunk in provider.stream(request)]


async def test_it_completes_up_to_the_cap_and_counts(provider: LLMProvider) -> None:
    reply = await provider.complete(asking())
    assert reply.text
    assert reply.usage.tokens_in > 0
    assert reply.usage.tokens_out == 12
    assert reply.finish == "length"
    assert reply.model in ("tiny", "default")


async def test_it_streams_what_it_completes(provider: LLMProvider) -> None:
    request = asking(parameters={"seed": 3, "temperature": 0.0})
    *pieces, last = await read(provider, request)
    assert len(pieces) > 1
    assert last.usage is not None
    assert last.usage.tokens_out == 12
    assert "".join(piece.text for piece in pieces) == (await provider.complete(request)).text


async def test_leaving_a_stream_frees_the_only_slot(provider: LLMProvider) -> None:
    async with closing(provider.stream(asking(tokens=LONG))) as chunks:
        await anext(chunks)
    async with asyncio.timeout(30):
        assert (await provider.complete(asking())).text


async def test_cancelling_mid_stream_frees_the_only_slot(provider: LLMProvider) -> None:
    begun = asyncio.Event()
    pieces: list[str] = []

    async def listen() -> None:
        async with closing(provider.stream(asking(tokens=LONG))) as chunks:
            async for chunk in chunks:
                pieces.append(chunk.text)
                begun.set()

    listening = asyncio.create_task(listen())
    await begun.wait()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    heard = len(pieces)
    async with asyncio.timeout(30):
        assert (await provider.complete(asking())).text
    assert len(pieces) == heard < LONG


async def test_cancelling_a_whole_reply_frees_the_only_slot(provider: LLMProvider) -> None:
    answering = asyncio.create_task(provider.complete(asking(tokens=LONG)))
    await asyncio.sleep(0)
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    async with asyncio.timeout(30):
        assert (await provider.complete(asking())).text


async def test_calls_wait_for_the_only_slot_and_all_are_answered(provider: LLMProvider) -> None:
    async with asyncio.timeout(60):
        replies = await asyncio.gather(*(provider.complete(asking()) for _ in range(4)))
    assert [reply.usage.tokens_out for reply in replies] == [12] * 4


async def test_a_conversation_beyond_its_context_is_too_long(provider: LLMProvider) -> None:
    for ask in (provider.complete, lambda request: read(provider, request)):
        with pytest.raises(LLMError) as caught:
            await ask(asking("long " * CONTEXT))
        assert caught.value.kind == "context_too_long"


async def test_it_takes_tools_and_their_results(provider: LLMProvider) -> None:
    tool = LLMTool("look", "Look", {"type": "object", "properties": {}})
    assert (await provider.complete(asking(tools=(tool,)))).usage.tokens_out == 12


async def test_a_file_that_is_no_model_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF, not")
    with pytest.raises(RuntimeError):
        load_llamacpp(Credentials(llamacpp_model_path=str(tmp_path / "bad.gguf")))
    with pytest.raises(LLMError, match="names no file"):
        load_llamacpp(Credentials(llamacpp_model_path=str(tmp_path / "none.gguf")))


@dataclass
class Slow:
    """A model that writes on, after its first words, only once it is to be closed."""

    server: Any
    closing: threading.Event

    def handle_chat_completions(self, body: Any, hear: Callable[[Any], bool]) -> None:
        def told(chunk: Any) -> bool:
            ends = hear(chunk)
            if any(choice["delta"].get("content") for choice in chunk.get("choices", ())):
                self.closing.wait(60)
            return ends

        self.server.handle_chat_completions(body, told)


async def test_closing_breaks_off_the_reply_under_way(model: Path) -> None:
    provider = await asyncio.to_thread(
        load_llamacpp, Credentials(llamacpp_model_path=str(model), llamacpp_context=CONTEXT)
    )
    provider._server = Slow(provider._server, provider._closing)
    begun = asyncio.Event()
    pieces: list[str] = []

    async def listen() -> None:
        async for chunk in provider.stream(asking(tokens=LONG)):
            pieces.append(chunk.text)
            begun.set()

    listening = asyncio.create_task(listen())
    await begun.wait()
    await provider.close()
    with pytest.raises(LLMError, match="broke off") as caught:
        await listening
    assert caught.value.kind == "unavailable"
    assert len(pieces) < LONG


async def test_reply_fits_the_schema_that_is_asked_for(provider: LLMProvider) -> None:
    schema = {
        "type": "object",
        "properties": {"sure": {"type": "boolean"}},
        "required": ["sure"],
        "additionalProperties": False,
    }
    reply = await provider.complete(asking(tokens=300, output_schema=schema))
    assert json.loads(reply.text) in ({"sure": True}, {"sure": False})


async def test_llamaserver_is_ready_until_it_stops(model: Path) -> None:
    server = serve(model)
    credentials = Credentials(llamaserver_host=server.listening_address)
    check = models_check({"default": ["llamaserver"]}, lambda _: True, lambda: credentials)
    assert (await check()).status == "up"
    provider = load_llamaserver(credentials)
    del server
    gc.collect()
    assert (await check()).status == "down"
    with pytest.raises(LLMError) as caught:
        await provider.complete(asking())
    assert caught.value.kind == "unavailable"
    await provider.close()


async def test_llamaserver_is_asked_without_the_proxy_for_the_internet(
    llama_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    provider = load_llamaserver(Credentials(llamaserver_host=llama_server))
    assert (await provider.complete(asking())).usage.tokens_out == 12
    await provider.close()


async def test_nobody_else_may_ask_the_model_in_this_process(model: Path) -> None:
    from httpx import AsyncClient

    provider = load_llamacpp(Credentials(llamacpp_model_path=str(model), llamacpp_context=CONTEXT))
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    async with AsyncClient(base_url=provider._server.listening_address) as client:
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 401
    await provider.close()
