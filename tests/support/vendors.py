"""Servers that speak what OpenAI, Azure and Anthropic speak, in the formats of their real APIs.

A `Vendor` answers each request with the next `Answer` of its script, the last one again and again,
and remembers what it was asked.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

TOKENS = (11, 7)
"""In and out, of every reply."""


@dataclass
class Answer:
    """How one request is answered. `text` is streamed word by word.

    `cut` says after how many words a stream ends: with the event of an `error` where there is one,
    `clean_cut` where the connection is closed in good order, by accident otherwise. A stream with a
    `gate` waits for it after its first word.
    """

    text: str = "Hello from the model."
    calls: list[tuple[str, Any]] = field(default_factory=list[Any])
    finish: str = "stop"
    status: int = 200
    error: dict[str, Any] = field(default_factory=dict[str, Any])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    cut: int | None = None
    clean_cut: bool = False
    gate: threading.Event | None = None
    delay: float = 0.0

    @property
    def words(self) -> list[str]:
        return [f"{word} " for word in self.text.split()] if self.text else []


class Vendor:
    """The script, and what was asked. `closed` is set when a client leaves before the end."""

    def __init__(self) -> None:
        self.script: list[Answer] = [Answer()]
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.busy = 0
        self.most_busy = 0
        self.closed = threading.Event()
        self.url = ""
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._openai, methods=["POST"]),
                Route("/openai/deployments/{name}/chat/completions", self._azure, methods=["POST"]),
                Route("/v1/messages", self._anthropic, methods=["POST"]),
            ]
        )

    async def _openai(self, request: Request) -> Response:
        return await self._answer(request, _openai_reply, _openai_events)

    async def _azure(self, request: Request) -> Response:
        return await self._answer(request, _openai_reply, _azure_events)

    async def _anthropic(self, request: Request) -> Response:
        return await self._answer(request, _anthropic_reply, _anthropic_events)

    async def _answer(self, request: Request, whole: Any, events: Any) -> Response:
        body = json.loads(await request.body())
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        self.paths.append(request.url.path)
        self.queries.append(dict(request.query_params))
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if answer.delay:
                await self._delay(request, answer.delay)
        finally:
            self.busy -= 1
        if answer.status != 200:
            return JSONResponse(answer.error, answer.status, headers=answer.headers)
        if body.get("stream"):
            stream = self._stream(answer, list(events(body, answer)))
            return StreamingResponse(stream, media_type="text/event-stream")
        return JSONResponse(whole(body, answer))

    async def _delay(self, request: Request, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not await request.is_disconnected():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return
        self.closed.set()

    async def _stream(self, answer: Answer, events: list[str]) -> AsyncIterator[str]:
        words = 0
        done = False
        try:
            for event in events:
                if "the-word" in event:
                    event = event.replace("the-word", "")
                    if answer.cut is not None and words == answer.cut:
                        if answer.error:
                            yield _error_event(answer.error)
                        if answer.error or answer.clean_cut:
                            done = True
                            return
                        raise ConnectionResetError("cut by the script")
                    if words == 1 and answer.gate is not None:
                        while not answer.gate.is_set():
                            await asyncio.sleep(0.01)
                    words += 1
                yield event
            done = True
        finally:
            if not done:
                self.closed.set()


def _error_event(error: dict[str, Any]) -> str:
    """Anthropic names its events, OpenAI does not."""
    name = "event: error\n" if error.get("type") == "error" else ""
    return f"{name}data: {json.dumps(error)}\n\n"


def _openai_reply(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.words) or None}
    if answer.calls:
        message["tool_calls"] = _openai_calls(answer)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": f"{body.get('model', 'deployed')}-2026-01-01",
        "choices": [{"index": 0, "message": message, "finish_reason": _openai_finish(answer)}],
        "usage": _openai_usage(),
    }


def _openai_events(body: dict[str, Any], answer: Answer) -> Iterator[str]:
    yield _openai_chunk(body, {"role": "assistant", "content": "", "refusal": None})
    for word in answer.words:
        yield _openai_chunk(body, {"content": word}) + ": the-word\n\n"
    for index, call in enumerate(_openai_calls(answer)):
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        start = {"name": call["function"]["name"], "arguments": ""}
        first = {"index": index, **call, "function": start}
        yield _openai_chunk(body, {"tool_calls": [first]})
        for part in (arguments[:half], arguments[half:]):
            more = {"index": index, "function": {"arguments": part}}
            yield _openai_chunk(body, {"tool_calls": [more]})
    yield _openai_chunk(body, {}, _openai_finish(answer))
    if (body.get("stream_options") or {}).get("include_usage"):
        last = {**_openai_base(body), "choices": [], "usage": _openai_usage()}
        yield f"data: {json.dumps(last)}\n\n"
    yield "data: [DONE]\n\n"


def _azure_events(body: dict[str, Any], answer: Answer) -> Iterator[str]:
    filtered = [{"prompt_index": 0, "content_filter_results": {}}]
    first = {**_openai_base(body), "model": "", "choices": [], "prompt_filter_results": filtered}
    yield f"data: {json.dumps(first)}\n\n"
    yield from _openai_events(body, answer)


def _openai_base(body: dict[str, Any]) -> dict[str, Any]:
    model = body.get("model", "deployed")
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": model,
    }


def _openai_chunk(body: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {**_openai_base(body), "choices": [choice]}
    if (body.get("stream_options") or {}).get("include_usage"):
        chunk["usage"] = None
    return f"data: {json.dumps(chunk)}\n\n"


def _openai_calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for number, (name, arguments) in enumerate(answer.calls)
    ]


def _openai_finish(answer: Answer) -> str:
    return "tool_calls" if answer.calls else answer.finish


def _openai_usage() -> dict[str, int]:
    tokens_in, tokens_out = TOKENS
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
    }


def _anthropic_reply(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if answer.text:
        content.append({"type": "text", "text": "".join(answer.words)})
    for number, (name, arguments) in enumerate(answer.calls):
        content.append(
            {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": arguments}
        )
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": _anthropic_stop(answer),
        "stop_sequence": None,
        "usage": {"input_tokens": TOKENS[0], "output_tokens": TOKENS[1]},
    }


def _anthropic_events(body: dict[str, Any], answer: Answer) -> Iterator[str]:
    empty = _anthropic_reply(body, Answer(text="")) | {"stop_reason": None}
    empty["usage"] = {"input_tokens": TOKENS[0], "output_tokens": 1}
    yield _anthropic_event("message_start", message=empty)
    index = 0
    if answer.text:
        block = {"type": "text", "text": ""}
        yield _anthropic_event("content_block_start", index=index, content_block=block)
        yield _anthropic_event("ping")
        for word in answer.words:
            delta = {"type": "text_delta", "text": word}
            event = _anthropic_event("content_block_delta", index=index, delta=delta)
            yield event + ": the-word\n\n"
        yield _anthropic_event("content_block_stop", index=index)
        index += 1
    for number, (name, arguments) in enumerate(answer.calls):
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}}
        yield _anthropic_event("content_block_start", index=index, content_block=block)
        text = json.dumps(arguments)
        for part in ("", text[: len(text) // 2], text[len(text) // 2 :]):
            delta = {"type": "input_json_delta", "partial_json": part}
            yield _anthropic_event("content_block_delta", index=index, delta=delta)
        yield _anthropic_event("content_block_stop", index=index)
        index += 1
    yield _anthropic_event(
        "message_delta",
        delta={"stop_reason": _anthropic_stop(answer), "stop_sequence": None},
        usage={"output_tokens": TOKENS[1]},
    )
    yield _anthropic_event("message_stop")


def _anthropic_event(type: str, **fields: Any) -> str:
    return f"event: {type}\ndata: {json.dumps({'type': type, **fields})}\n\n"


def _anthropic_stop(answer: Answer) -> str:
    if answer.calls:
        return "tool_use"
    names = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
    return names[answer.finish]


@contextmanager
def serving(vendor: Vendor) -> Iterator[Vendor]:
    """The vendor on a free port, in a thread of its own."""
    config = uvicorn.Config(vendor.app, port=0, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    vendor.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield vendor
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


OPENAI_ERRORS: dict[str, Answer] = {
    "auth": Answer(
        status=401,
        error={
            "error": {
                "message": "Incorrect API key provided: sk-s3cret.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            }
        },
    ),
    "rate_limited": Answer(
        status=429,
        headers={"retry-after": "7"},
        error={
            "error": {
                "message": "Rate limit reached for sk-s3cret",
                "type": "requests",
                "param": None,
                "code": "rate_limit_exceeded",
            }
        },
    ),
    "context_too_long": Answer(
        status=400,
        error={
            "error": {
                "message": "This model's maximum context length is 128000 tokens.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
    ),
    "refused": Answer(text="", finish="content_filter"),
    "unavailable": Answer(
        status=500,
        error={"error": {"message": "The server had an error", "type": "server_error"}},
    ),
    "invalid": Answer(
        status=404,
        error={
            "error": {
                "message": "The model `x` does not exist",
                "type": "invalid_request_error",
                "param": None,
                "code": "model_not_found",
            }
        },
    ),
}

ANTHROPIC_ERRORS: dict[str, Answer] = {
    "auth": Answer(
        status=401,
        error={
            "type": "error",
            "error": {"type": "authentication_error", "message": "invalid x-api-key sk-s3cret"},
        },
    ),
    "rate_limited": Answer(
        status=429,
        headers={"retry-after": "7"},
        error={"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}},
    ),
    "context_too_long": Answer(
        status=400,
        error={
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "prompt is too long: 250000 tokens > 200000 maximum",
            },
        },
    ),
    "refused": Answer(text="", finish="content_filter"),
    "unavailable": Answer(
        status=529,
        error={"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    ),
    "invalid": Answer(
        status=404,
        error={"type": "error", "error": {"type": "not_found_error", "message": "model: x"}},
    ),
}
