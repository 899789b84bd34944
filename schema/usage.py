"""What a process may use, and what it has used."""

from __future__ import annotations

from enum import Enum
from typing import Self

import strawberry

from ..core.llm.prices import UNIT
from ..core.tower.model_usage import ModelUsage as ModelUsageRecord
from ..core.tower.process import Quota as QuotaRecord
from ..core.tower.process import Usage as UsageRecord
from ..core.tower.usage import UsageTotal as UsageTotalRecord
from .scalars import Long


@strawberry.enum(description="What a process does at a limit.")
class OnExhausted(Enum):
    END = strawberry.enum_value("end", description="End, keeping what it has produced.")
    ASK = strawberry.enum_value("ask", description="Ask its user for as much again.")


@strawberry.type(
    description="What one process may use. Checked before the call that would break it."
)
class Quota:
    max_llm_calls: int = strawberry.field(description="LLM calls.")
    max_tool_calls: int = strawberry.field(description="Tool calls.")
    max_agent_hops: int = strawberry.field(description="Stages entered.")
    max_iterations: int = strawberry.field(description="Rounds of the capability's main loop.")
    max_steps: int = strawberry.field(description="Journaled steps.")
    timeout_seconds: float = strawberry.field(
        description="Running time in seconds; waiting is not counted."
    )
    soft_timeout_seconds: float = strawberry.field(
        description="Running time in seconds after which a warning event is emitted."
    )
    max_input_tokens: int = strawberry.field(description="Tokens of one LLM call's input.")
    max_output_tokens: int = strawberry.field(description="Tokens of one LLM call's output.")
    max_context_tokens: int = strawberry.field(
        description="Tokens of one LLM call's input and output."
    )
    on_exhausted: OnExhausted = strawberry.field(
        description="What it does at its limit of calls, hops, rounds, steps or time."
    )

    @classmethod
    def of(cls, record: QuotaRecord) -> Self:
        return cls(
            max_llm_calls=record.max_llm_calls,
            max_tool_calls=record.max_tool_calls,
            max_agent_hops=record.max_agent_hops,
            max_iterations=record.max_iterations,
            max_steps=record.max_steps,
            timeout_seconds=record.timeout_seconds,
            soft_timeout_seconds=record.soft_timeout_seconds,
            max_input_tokens=record.max_input_tokens,
            max_output_tokens=record.max_output_tokens,
            max_context_tokens=record.max_context_tokens,
            on_exhausted=OnExhausted(record.on_exhausted),
        )


@strawberry.input(
    description="Limits to change, each at most 1,000,000,000; those left out or null stay."
)
class AdjustQuotaInput:
    process_id: strawberry.ID = strawberry.field(
        description="`Process.id` or `Process.pid`; of the caller's own also `Process.requestId`."
    )
    max_llm_calls: int | None = strawberry.field(default=None, description="LLM calls.")
    max_tool_calls: int | None = strawberry.field(default=None, description="Tool calls.")
    max_agent_hops: int | None = strawberry.field(default=None, description="Stages entered.")
    max_iterations: int | None = strawberry.field(
        default=None, description="Rounds of the capability's main loop."
    )
    max_steps: int | None = strawberry.field(
        default=None, description="Journaled steps, at least 1."
    )
    timeout_seconds: float | None = strawberry.field(
        default=None, description="Running time in seconds, more than 0."
    )
    soft_timeout_seconds: float | None = strawberry.field(
        default=None, description="Running time in seconds, more than 0, before a warning."
    )
    max_input_tokens: int | None = strawberry.field(
        default=None, description="Tokens of one LLM call's input, at least 1."
    )
    max_output_tokens: int | None = strawberry.field(
        default=None, description="Tokens of one LLM call's output, at least 1."
    )
    max_context_tokens: int | None = strawberry.field(
        default=None, description="Tokens of one LLM call's input and output, at least 1."
    )

    def changes(self) -> dict[str, float]:
        given = {name: getattr(self, name) for name in LIMITS}
        return {name: value for name, value in given.items() if value is not None}


LIMITS = tuple(name for name in AdjustQuotaInput.__annotations__ if name != "process_id")


@strawberry.type(description="What one process has used so far. Replayed steps cost nothing.")
class Usage:
    llm_calls: int = strawberry.field(description="LLM calls.")
    tool_calls: int = strawberry.field(description="Tool calls.")
    agent_hops: int = strawberry.field(description="Stages entered.")
    iterations: int = strawberry.field(description="Rounds of the capability's main loop.")
    steps: int = strawberry.field(description="Journaled steps.")
    tokens_in: Long = strawberry.field(description="Tokens sent to LLMs.")
    tokens_out: Long = strawberry.field(description="Tokens received from LLMs.")
    cost: float = strawberry.field(
        description="What the tokens cost by the server's price table, in its currency."
    )
    elapsed_seconds: float = strawberry.field(
        description="Running time in seconds; waiting is not counted."
    )

    @classmethod
    def of(cls, record: UsageRecord) -> Self:
        return cls(
            llm_calls=record.llm_calls,
            tool_calls=record.tool_calls,
            agent_hops=record.agent_hops,
            iterations=record.iterations,
            steps=record.steps,
            tokens_in=Long(record.tokens_in),
            tokens_out=Long(record.tokens_out),
            cost=record.cost / UNIT,
            elapsed_seconds=record.elapsed_seconds,
        )


@strawberry.type(description="What many processes have used together.")
class UsageTotal:
    processes: Long = strawberry.field(description="Processes submitted.")
    llm_calls: Long = strawberry.field(description="LLM calls.")
    tool_calls: Long = strawberry.field(description="Tool calls.")
    tokens_in: Long = strawberry.field(description="Tokens sent to LLMs.")
    tokens_out: Long = strawberry.field(description="Tokens received from LLMs.")
    cost: float = strawberry.field(
        description="What the tokens cost by the server's price table, in its currency."
    )
    elapsed_seconds: float = strawberry.field(
        description="Running time in seconds; waiting is not counted."
    )

    @classmethod
    def of(cls, record: UsageTotalRecord) -> Self:
        return cls(
            processes=Long(record.processes),
            llm_calls=Long(record.llm_calls),
            tool_calls=Long(record.tool_calls),
            tokens_in=Long(record.tokens_in),
            tokens_out=Long(record.tokens_out),
            cost=record.cost / UNIT,
            elapsed_seconds=record.elapsed_seconds,
        )


@strawberry.type(description="What one model has replied to.")
class ModelUsage:
    model: str = strawberry.field(description="Provider and model, such as `openai/gpt-6-luna`.")
    calls: Long = strawberry.field(
        description="Its replies, and those that it began and has counted."
    )
    tokens_in: Long = strawberry.field(description="Tokens sent to it.")
    tokens_out: Long = strawberry.field(description="Tokens received from it.")
    cost: float = strawberry.field(
        description="What they cost by the server's price table, in its currency; 0 without one."
    )

    @classmethod
    def of(cls, record: ModelUsageRecord) -> Self:
        return cls(
            model=record.model,
            calls=Long(record.calls),
            tokens_in=Long(record.tokens_in),
            tokens_out=Long(record.tokens_out),
            cost=record.cost,
        )
