"""The bodies of the REST contract: what clients send, what they get back.

Responses are made from the core's records by `Model.model_validate(record)`. Lengths count
characters and are inclusive. Bounds that break give pydantic's error list, which is the 422 body.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


def _to_iso(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _from_iso(value: Any) -> datetime | None:
    # Pydantic's own datetime would also take numbers, and digits as text, for seconds.
    if value is None or isinstance(value, datetime):
        return value
    try:
        # Which would not look behind a NUL.
        readable = isinstance(value, str) and value.isascii() and value.isprintable()
        moment = datetime.fromisoformat(value) if readable else None
    except ValueError:
        moment = None
    if moment is None:
        raise PydanticCustomError("datetime_parsing", "Input should be an ISO-8601 date-time")
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise PydanticCustomError("datetime_parsing", "Input is out of range in UTC") from None


def _storable(value: str) -> str:
    # Half of a surrogate pair gets no further than the bounds, and in a body is no JSON at all.
    if "\x00" in value:
        raise PydanticCustomError("value_error", "Input should not contain NUL characters")
    return value


Timestamp = Annotated[
    str, BeforeValidator(_to_iso), Field(json_schema_extra={"format": "date-time"})
]
"""ISO-8601 text with a UTC offset; an aware datetime is accepted and written as such."""

Moment = Annotated[datetime | None, BeforeValidator(_from_iso)]
"""A date-time read from ISO-8601 text; one without an offset is taken as UTC."""

Rate = Annotated[float, AfterValidator(lambda value: round(value, 4))]
Milliseconds = Annotated[float, AfterValidator(lambda value: round(value, 2))]

WholeSeconds = Annotated[int, BeforeValidator(ceil)]

STORABLE = AfterValidator(_storable)
"""Of text that is stored. Stands after the bounds: before them it would hide them."""

UserId = Annotated[str, Field(min_length=1, max_length=255), STORABLE]
MessageText = Annotated[str, Field(min_length=1, max_length=10_000), STORABLE]
Title = Annotated[str, Field(max_length=500), STORABLE]

HealthStatus = Literal["healthy", "degraded", "unhealthy", "unknown"]


class WireModel(BaseModel):
    """Reads plain attributes as well as mappings; ignores fields it does not know."""

    model_config = ConfigDict(from_attributes=True, extra="ignore")


# Root and probes


class RootResponse(WireModel):
    """What the server is, and the paths of its surfaces."""

    service: str
    version: str
    description: str
    health: str
    ready: str
    api: dict[str, str]
    websocket: str
    api_docs: str
    governance: str


class NotReadyResponse(WireModel):
    """A probe of a server that has not started, or is shutting down."""

    status: Literal["unhealthy"]
    message: str


# Chat


class SessionCreate(WireModel):
    user_id: UserId
    title: Title | None = None


class SessionUpdate(WireModel):
    """An absent or null `title` leaves the title, an absent `archived_at` the archival; null takes
    the session out of the archive."""

    title: Title | None = None
    archived_at: Moment = None


class SessionResponse(WireModel):
    session_id: str
    user_id: str
    title: str | None
    message_count: int
    created_at: Timestamp
    last_activity: Timestamp
    deleted_at: Timestamp | None = None
    archived_at: Timestamp | None = None


class MessageSend(WireModel):
    """Without `session_id` (absent, null or empty) a session is created."""

    message: MessageText
    session_id: str | None = None


class MessageSendResponse(WireModel):
    """The outcome of a send. With `processing` and both flags false there is no answer yet."""

    request_id: str
    session_id: str
    status: Literal["completed", "processing", "failed"]
    response: str | None = None
    confirmation_needed: bool = False
    confirmation_message: str | None = None
    confirmation_id: str | None = None
    clarification_needed: bool = False
    clarification_question: str | None = None
    thread_id: str | None = None


class MessageEdit(WireModel):
    content: MessageText


class MessageResponse(WireModel):
    message_id: int
    session_id: str
    role: Literal["user", "assistant", "system"]
    content: str
    created_at: Timestamp
    deleted_at: Timestamp | None = None
    edited_at: Timestamp | None = None
    original_content: str | None = None


class SearchResult(MessageResponse):
    session_title: str | None = None


class SessionExport(WireModel):
    session: SessionResponse
    messages: list[MessageResponse]


# Requests


class SubmitRequest(WireModel):
    user_message: MessageText
    user_id: UserId
    session_id: Annotated[str, Field(max_length=255), STORABLE] | None = None
    conversation_history: list[Any] | None = None
    context: dict[str, Any] | None = None


class ConfirmationSubmit(WireModel):
    confirmation_id: str = Field(min_length=1)
    user_response: str = Field(min_length=1, max_length=1000)
    user_id: UserId


class ClarificationSubmit(WireModel):
    thread_id: str = Field(min_length=1)
    clarification: Annotated[str, Field(min_length=1, max_length=2000), STORABLE]
    user_id: UserId
    session_id: str | None = Field(default=None, max_length=255)


class SubmitRequestResponse(WireModel):
    """`response` equals `response_text`: the browser client reads one or the other."""

    request_id: str
    status: Literal[
        "completed", "failed", "processing", "clarification_needed", "confirmation_needed"
    ]
    response_text: str | None = None
    response: str | None = None
    clarification_needed: bool = False
    clarification_question: str | None = None
    thread_id: str | None = None
    confirmation_needed: bool = False
    confirmation_message: str | None = None
    confirmation_id: str | None = None


class RequestUsage(WireModel):
    llm_calls: int
    tool_calls: int
    agent_hops: int
    tokens_in: int
    tokens_out: int
    elapsed_seconds: float


class RequestQuota(WireModel):
    max_llm_calls: int
    max_tool_calls: int
    max_agent_hops: int
    timeout_seconds: WholeSeconds


class RequestStatus(WireModel):
    pid: str
    state: Literal["new", "ready", "running", "waiting", "blocked", "terminated"]
    priority: Literal["realtime", "high", "normal", "low", "idle"]
    current_stage: str | None
    created_at: Timestamp | None
    started_at: Timestamp | None
    completed_at: Timestamp | None
    resource_usage: RequestUsage | None
    quota: RequestQuota | None
    pending_interrupt: str | None


class MetricsResponse(WireModel):
    """Counts since the data folder was made. States that no process is in are left out."""

    total_processes: int
    active_processes: int
    processes_by_state: dict[str, int]
    system_llm_calls: int
    system_tool_calls: int
    system_tokens_in: int
    system_tokens_out: int


# Governance


class ToolHealthResponse(WireModel):
    """`success_rate` is between 0 and 1; `recent_errors` counts errors and timeouts."""

    tool_name: str
    status: HealthStatus
    success_rate: Rate
    avg_latency_ms: Milliseconds
    total_calls: int
    recent_errors: int
    issues: list[str]
    recommendations: list[str]
    checked_at: Timestamp


class SlowExecution(WireModel):
    tool_name: str
    execution_time_ms: int
    recorded_at: Timestamp | None


class HealthSummaryResponse(WireModel):
    """`summary` counts each tool once under all four of the status names."""

    overall_status: HealthStatus
    summary: dict[HealthStatus, int]
    tools_needing_attention: list[ToolHealthResponse]
    slow_executions: list[SlowExecution]
    checked_at: Timestamp


class DashboardTool(WireModel):
    tool_name: str
    status: HealthStatus
    success_rate: Rate
    avg_latency_ms: Milliseconds
    circuit_state: str
    last_used: Timestamp | None


class DashboardAgent(WireModel):
    name: str
    description: str
    status: str
    layer: str


class DashboardMemoryLayer(WireModel):
    name: str
    description: str
    status: str
    backend: str


class DashboardConfig(WireModel):
    llm_provider: str
    database_backend: str
    log_level: str


class DashboardResponse(WireModel):
    """The dashboard for programs: what `Accept: application/json` gets."""

    tools: list[DashboardTool]
    agents: list[DashboardAgent]
    memory_layers: list[DashboardMemoryLayer]
    config: DashboardConfig
