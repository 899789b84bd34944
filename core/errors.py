"""Errors that a client can act on. Every surface maps these, and only these, to its own form."""

from __future__ import annotations

from typing import ClassVar, Literal

LLMErrorKind = Literal[
    "auth", "rate_limited", "context_too_long", "refused", "unavailable", "invalid"
]


class MissionError(Exception):
    """Base of every error whose text is safe to show to a client.

    `code` is stable across releases; the message says what, where and what to do next.
    """

    code: ClassVar[str] = "MISSION_ERROR"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(MissionError):
    """The thing does not exist, or belongs to someone else: the two look alike on purpose."""

    code = "NOT_FOUND"

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"{kind} not found: {id[:100]}")
        self.kind = kind
        self.id = id


class Forbidden(MissionError):
    """The caller is known and may not do this."""

    code = "FORBIDDEN"


class InvalidInput(MissionError):
    """An argument does not validate; `field` names it in the caller's own terms."""

    code = "INVALID_INPUT"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.text = message


class Conflict(MissionError):
    """The thing exists and its state forbids the change (already answered, already ended, ...)."""

    code = "CONFLICT"


class QuotaExceeded(MissionError):
    """A limit was reached; `reason` is the termination reason, such as `max_llm_calls_exceeded`."""

    code = "QUOTA_EXCEEDED"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Busy(MissionError):
    """A bounded queue is full. Try again after `retry_after` seconds."""

    code = "BUSY"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(MissionError):
    """A part of the server is missing, starting or shutting down."""

    code = "UNAVAILABLE"


class CursorExpired(MissionError):
    """Events of `stream` before `oldest` were removed by retention; start again from there."""

    code = "CURSOR_EXPIRED"

    def __init__(self, stream: int, oldest: int) -> None:
        super().__init__(
            "events that follow this cursor were removed by clean-up; read anew what you show, and"
            " go on from the oldest cursor there is"
        )
        self.stream = stream
        self.oldest = oldest


class ToolFailed(MissionError):
    """A tool raised, timed out or refused its arguments. `status` is a `ToolStatus` value;
    `foreign` says that the text is that of an exception of the tool's own."""

    code = "TOOL_FAILED"

    def __init__(self, tool: str, status: str, message: str, foreign: bool = False) -> None:
        super().__init__(f"tool '{tool}': {message}")
        self.tool = tool
        self.status = status
        self.text = message
        self.foreign = foreign


class ChildFailed(MissionError):
    """A process that `mission.spawn` has started ended without a reply. `reason` is its own, such
    as `max_llm_calls_exceeded`; `text` says more where it can. `not_served`: there is no such
    capability, so none was started, and `pid` is empty."""

    code = "CHILD_FAILED"

    def __init__(self, pid: str, capability: str, reason: str, text: str) -> None:
        super().__init__(f"the child process of '{capability}' ended ({reason}): {text}")
        self.pid = pid
        self.capability = capability
        self.reason = reason
        self.text = text


class LLMError(MissionError):
    """A provider could not answer.

    `kind` says why: `auth`, the credentials or the account; `rate_limited`; `context_too_long`;
    `refused`, the content; `unavailable`, for now; `invalid`, the request or its model.
    `retry_after` is in seconds where the provider said so, `provider` its name where known.
    """

    code = "LLM_ERROR"

    def __init__(
        self,
        kind: LLMErrorKind,
        message: str,
        retry_after: float | None = None,
        provider: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: LLMErrorKind = kind
        self.retry_after = retry_after
        self.provider = provider
