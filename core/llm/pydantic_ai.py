"""OpenAI, Anthropic, Azure and whatever speaks like OpenAI, through pydantic-ai's models.

Importing this takes seconds; `lazy` does it in a thread, when a model is first asked.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

import structlog
from pydantic_ai import exceptions as failures
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    SystemPromptPart,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from ..errors import LLMError, LLMErrorKind
from .provider import (
    Finish,
    LLMChunk,
    LLMMessage,
    LLMReply,
    LLMRequest,
    LLMToolCall,
    LLMUsage,
)

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class PydanticAIProvider:
    """One vendor. `make` gives its model by name; `default` is the name where none is asked for;
    `shut` closes the connections that its models share. Its client does not try again by itself:
    said here, with each request, that would cost a copy of the client each time."""

    def __init__(
        self,
        name: str,
        default: str,
        make: Callable[[str], Model],
        shut: Callable[[], Awaitable[None]],
    ) -> None:
        self.name = name
        self._default = default
        self._make = make
        self._shut = shut
        self._models: dict[str, Model] = {}

    async def complete(self, request: LLMRequest) -> LLMReply:
        name, model = self._model(request)
        try:
            response = await model_request(
                model,
                _messages(request.messages),
                model_settings=_settings(request),
                model_request_parameters=_parameters(model, request),
            )
        except Exception as error:
            raise self._translated(error) from error
        usage = _usage(response.usage)
        try:
            finish = self._finish(response)
        except LLMError:
            request.lost(name, usage)
            raise
        return LLMReply(response.text or "", usage, _tool_calls(response), name, finish)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        name, model = self._model(request)
        usage = LLMUsage()
        whole = False
        try:
            async with model_request_stream(
                model,
                _messages(request.messages),
                model_settings=_settings(request),
                model_request_parameters=_parameters(model, request),
            ) as events:
                try:
                    async for event in events:
                        text, before, usage = _text(event), usage, _usage(events.usage)
                        if usage != before:
                            yield LLMChunk(text, usage, model=name)
                        elif text:
                            yield LLMChunk(text)
                finally:
                    usage = _usage(events.usage)
                response = events.get()
            finish = self._finish(response)
            whole = True
        except Exception as error:
            raise self._translated(error) from error
        finally:
            if not whole and usage != LLMUsage():
                request.lost(name, usage)
        yield LLMChunk("", usage, _tool_calls(response), name, finish)

    async def close(self) -> None:
        await self._shut()

    def _model(self, request: LLMRequest) -> tuple[str, Model]:
        name = request.model or self._default
        if name not in self._models:
            self._models[name] = self._make(name)
        return name, self._models[name]

    def _finish(self, response: ModelResponse) -> Finish:
        match response.finish_reason:
            case "content_filter":
                raise LLMError("refused", f"{self.name} refused the content", provider=self.name)
            case "length":
                return "length"
            case "tool_call":
                return "tool_calls"
            case "stop":
                return "tool_calls" if response.tool_calls else "stop"
            case _:
                # Without a reason the reply has no end: the connection was cut, cleanly or not.
                raise LLMError(
                    "unavailable", f"{self.name} broke off its reply", provider=self.name
                )

    def _translated(self, error: Exception) -> LLMError:
        """What a vendor's error means. Its text may quote a key or the conversation: it is not
        shown, and not logged."""
        if isinstance(error, LLMError):
            return error
        kind, says = _meaning(error)
        status = getattr(error, "status_code", None)
        code = getattr(error, "provider_error_code", None)
        _log.warning(
            "llm.failed",
            provider=self.name,
            kind=kind,
            error=type(error).__name__,
            status=status,
            code=code,
        )
        after = getattr(error, "retry_after", None)
        shown = f" (status {status})" if isinstance(status, int) else ""
        wait = f"; try again in {math.ceil(after)} seconds" if after else ""
        return LLMError(kind, f"{self.name} {says}{shown}{wait}", after, self.name)


def _meaning(error: Exception) -> tuple[LLMErrorKind, str]:
    match error:
        case (
            failures.ContentFilterError()
            | failures.ModelAPIError(provider_error_code="content_filter")
        ):
            return "refused", "refused the content"
        case failures.ModelContextWindowExceededError():
            return "context_too_long", "cannot read so long a conversation"
        case failures.ModelAPIError(provider_error_type="exceed_context_size_error"):  # llama.cpp
            return "context_too_long", "cannot read so long a conversation"
        case failures.ModelAuthenticationError():
            return "auth", "does not accept the credentials"
        case failures.ModelQuotaExceededError():
            return "auth", "says that the account's quota or credit is used up"
        case failures.ModelRateLimitError():
            return "rate_limited", "limits the rate of calls"
        case failures.ModelNotFoundError():
            return "invalid", "does not know the model"
        case failures.ModelRequestRejectedError() | failures.UserError():
            return "invalid", "rejects the request"
        case failures.ModelTimeoutError() | failures.ModelRequestTimeout():
            return "unavailable", "did not answer in time"
        case failures.ModelConnectionError():
            return "unavailable", "cannot be reached, or broke off its reply"
        case _:
            return "unavailable", "failed, or broke off its reply"


def _messages(messages: Sequence[LLMMessage]) -> list[ModelMessage]:
    """In pydantic-ai's form, where neighbours of one side are one message."""
    found: list[ModelMessage] = []
    names: dict[str, str] = {}
    for message in messages:
        if message.role == "assistant":
            names |= {call.id: call.name for call in message.tool_calls}
            found.append(ModelResponse(parts=list(_said(message))))
            continue
        part = _request_part(message, names)
        if found and isinstance(last := found[-1], ModelRequest):
            last.parts = [*last.parts, part]
        else:
            found.append(ModelRequest(parts=[part]))
    return found


def _request_part(message: LLMMessage, names: dict[str, str]) -> ModelRequestPart:
    if message.role == "system":
        return SystemPromptPart(message.content)
    if message.role == "tool":
        name = names.get(message.call_id, "unknown")
        return ToolReturnPart(name, message.content, message.call_id)
    return UserPromptPart(message.content)


def _said(message: LLMMessage) -> Iterator[ModelResponsePart]:
    if message.content:
        yield TextPart(message.content)
    for call in message.tool_calls:
        yield ToolCallPart(call.name, _object(call.arguments), call.id)


def _object(arguments: str) -> str:
    """A vendor refuses a conversation in which a model once wrote something else."""
    try:
        is_object = isinstance(json.loads(arguments or "{}"), dict)
    except ValueError:
        is_object = False
    return arguments or "{}" if is_object else json.dumps({"not_an_object": arguments})


def _settings(request: LLMRequest) -> ModelSettings:
    given = request.parameters
    settings = ModelSettings(max_tokens=request.max_output_tokens, timeout=request.timeout)
    if "temperature" in given:
        settings["temperature"] = given["temperature"]
    if "top_p" in given:
        settings["top_p"] = given["top_p"]
    if "seed" in given:
        settings["seed"] = given["seed"]
    if "stop" in given:
        settings["stop_sequences"] = given["stop"]
    return settings


def _parameters(model: Model, request: LLMRequest) -> ModelRequestParameters:
    tools = [
        ToolDefinition(
            name=tool.name,
            description=tool.description,
            parameters_json_schema=tool.parameters,
            strict=False,  # a schema that leaves arguments optional is none that a vendor enforces
        )
        for tool in request.tools
    ]
    if request.output_schema is None:
        return ModelRequestParameters(function_tools=tools)
    native = bool(model.profile.get("supports_json_schema_output", False))
    return ModelRequestParameters(
        function_tools=tools,
        output_mode="native" if native else "prompted",
        output_object=OutputObjectDefinition(json_schema=dict(request.output_schema), name="reply"),
    )


def _text(event: ModelResponseStreamEvent) -> str:
    match event:
        case PartStartEvent(part=TextPart(content=text)):
            return text
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


def _usage(usage: RequestUsage) -> LLMUsage:
    return LLMUsage(usage.input_tokens, usage.output_tokens)


def _tool_calls(response: ModelResponse) -> tuple[LLMToolCall, ...]:
    return tuple(
        LLMToolCall(
            call.tool_call_id,
            call.tool_name,
            call.args if isinstance(call.args, str) else call.args_as_json_str(),
        )
        for call in response.tool_calls
    )
