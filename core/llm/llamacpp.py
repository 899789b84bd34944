"""A model in this process, through `xllamacpp`: no key, no network, no other program.

Importing this loads llama.cpp; `lazy` does it in a thread, when a model is first asked.
"""

from __future__ import annotations

import asyncio
import importlib
import secrets
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import LLMError
from .provider import (
    Finish,
    LLMChunk,
    LLMMessage,
    LLMReply,
    LLMRequest,
    LLMToolCall,
    LLMUsage,
    collect,
)

_library: Any = importlib.import_module("xllamacpp")  # has no types
ERRORS_ONLY = 1
_FINISHES: dict[str, Finish] = {"stop": "stop", "length": "length", "tool_calls": "tool_calls"}
_Item = dict[str, Any] | BaseException | None


class LlamaCppProvider:
    """One GGUF file, loaded once. Each reply is made in a thread, `parallel` at the same time."""

    name = "llamacpp"

    def __init__(self, path: Path, context: int, parallel: int) -> None:
        params = _library.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context * parallel
        params.n_parallel = parallel
        params.verbosity = ERRORS_ONLY
        # The library always listens: on this machine, on a free port, and with a key that nobody
        # knows it answers nobody but us.
        params.port = 0
        params.api_keys = [secrets.token_urlsafe()]
        self._model = path.stem
        self._server: Any = _library.Server(params)
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="llamacpp")
        self._closing = threading.Event()

    async def complete(self, request: LLMRequest) -> LLMReply:
        return await collect(self.stream(request))

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[_Item] = asyncio.Queue()  # bounded by max_output_tokens
        left = threading.Event()
        body = _body(request)

        def put(item: _Item) -> None:
            if not left.is_set():
                loop.call_soon_threadsafe(items.put_nowait, item)

        def hear(chunk: dict[str, Any]) -> bool:
            put(chunk)
            return left.is_set() or self._closing.is_set()  # ends the reply

        def answer() -> None:
            try:
                if not left.is_set():
                    self._server.handle_chat_completions(body, hear)
                put(None)
            except BaseException as error:
                put(error)

        self._threads.submit(answer)
        reply = _Assembly(self._model)
        try:
            while (item := await items.get()) is not None:
                if isinstance(item, BaseException):
                    raise LLMError(
                        "invalid", "llamacpp rejects the request", provider=self.name
                    ) from item
                if text := reply.add(item):
                    yield LLMChunk(text)
        finally:
            left.set()
        yield reply.last()

    async def close(self) -> None:
        """Breaks off the replies under way, and frees the model."""
        self._closing.set()
        await asyncio.to_thread(self._shut)

    def _shut(self) -> None:
        self._threads.shutdown()
        self._server = None  # which stops its own threads


class _Assembly:
    """What the chunks of one reply come to."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._usage = LLMUsage()
        self._finish: Finish | None = None
        self._calls: dict[int, dict[str, str]] = {}

    def add(self, chunk: dict[str, Any]) -> str:
        """The text in this chunk. Raises LLMError for one that tells of a failure."""
        if (error := chunk.get("error")) is not None:
            raise _failure(error)
        if (usage := chunk.get("usage")) is not None:
            self._usage = LLMUsage(usage["prompt_tokens"], usage["completion_tokens"])
        text = ""
        for choice in chunk.get("choices", ()):
            delta = choice.get("delta", {})
            text += delta.get("content") or ""
            for part in delta.get("tool_calls") or ():
                call = self._calls.setdefault(part["index"], {"id": "", "name": "", "text": ""})
                function = part.get("function", {})
                call["id"] += part.get("id") or ""
                call["name"] += function.get("name") or ""
                call["text"] += function.get("arguments") or ""
            if choice.get("finish_reason") is not None:
                self._finish = _FINISHES.get(choice["finish_reason"], "stop")
        return text

    def last(self) -> LLMChunk:
        if self._finish is None:
            raise LLMError("unavailable", "llamacpp broke off its reply", provider="llamacpp")
        calls = tuple(
            LLMToolCall(call["id"] or f"call_{index}", call["name"], call["text"])
            for index, call in sorted(self._calls.items())
        )
        return LLMChunk("", self._usage, calls, self._model, self._finish)


def _failure(error: dict[str, Any]) -> LLMError:
    if error.get("type") == "exceed_context_size_error":
        text = "llamacpp cannot read so long a conversation; raise LLAMACPP_CONTEXT"
        return LLMError("context_too_long", text, provider="llamacpp")
    if error.get("code") == 503:
        return LLMError("unavailable", "llamacpp is busy", provider="llamacpp")
    return LLMError("invalid", "llamacpp rejects the request", provider="llamacpp")


def _body(request: LLMRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [_message(message) for message in request.messages],
        "max_tokens": request.max_output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **request.parameters,
    }
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for tool in request.tools
        ]
    if request.output_schema is not None:
        schema = {"name": "reply", "schema": dict(request.output_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _message(message: LLMMessage) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        found["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        found["tool_call_id"] = message.call_id
    return found
