"""Steps: the timeline of a process."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Self

import strawberry

from ..core.llm.prices import UNIT
from ..core.tower.process import Step as StepRecord
from .scalars import Long


@strawberry.enum(description="How far a step has come.")
class StepStatus(Enum):
    STARTED = strawberry.enum_value("started", description="Under way, or in doubt after a crash.")
    COMPLETED = strawberry.enum_value("completed", description="Its output is recorded.")
    FAILED = strawberry.enum_value("failed", description="Its error is recorded.")


@strawberry.type(description="One journaled effect of a process: recorded once, never repeated.")
class Step:
    key: str = strawberry.field(description="Place in the process: branch path and counter.")
    kind: str = strawberry.field(description="What was done: `llm`, `tool`, a question, ...")
    name: str = strawberry.field(description="Which one: a tool's name, an LLM's role, ...")
    status: StepStatus = strawberry.field(description="How far it has come.")
    attempt: int = strawberry.field(description="How often it was begun.")
    size: Long = strawberry.field(description="Characters of its recorded output.")
    input_changed: bool = strawberry.field(
        description="Whether a replay asked for it with another input than the first run did: its"
        " recorded output stands."
    )
    duration: float = strawberry.field(description="How long it took, in seconds.")
    tokens_in: Long = strawberry.field(description="Tokens sent to an LLM.")
    tokens_out: Long = strawberry.field(description="Tokens received from an LLM.")
    model: str | None = strawberry.field(
        description="Provider and model that replied, such as `openai/gpt-6-luna`; null where none"
        " is to be billed."
    )
    cost: float = strawberry.field(
        description="What that cost by the server's price table, in its currency; 0 without one."
    )
    error: str | None = strawberry.field(description="What went wrong; null unless it failed.")
    created_at: datetime = strawberry.field(description="When it started.")

    @classmethod
    def of(cls, record: StepRecord) -> Self:
        return cls(
            key=record.key,
            kind=record.kind,
            name=record.name,
            status=StepStatus(record.status),
            attempt=record.attempt,
            size=Long(record.size),
            input_changed=record.input_changed,
            duration=record.duration,
            tokens_in=Long(record.tokens_in),
            tokens_out=Long(record.tokens_out),
            model=record.model,
            cost=record.cost / UNIT,
            error=record.error,
            created_at=record.created_at,
        )


AfterStep = Annotated[
    str | None,
    strawberry.argument(
        description="`Step.key` of the step after which to go on; null for the first."
    ),
]
