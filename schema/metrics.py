"""Metrics: the Control Tower in numbers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Self

import strawberry

from ..core.errors import InvalidInput
from ..core.tower.metrics import TowerSample
from .context import Info
from .fields import field, subscription
from .process import ProcessState
from .scalars import Long

LEAST, MOST = 1.0, 3600.0


@strawberry.type(description="How many processes are in one state.")
class StateCount:
    state: ProcessState = strawberry.field(description="The state.")
    count: Long = strawberry.field(description="Processes in it, more than 0.")


@strawberry.type(
    description="Counts over all users, since the server's data was made. Everybody may see how"
    " much is done; what it costs, and by which model, is for administrators."
)
class Metrics:
    total_processes: Long = strawberry.field(
        description="Processes submitted, those removed since included."
    )
    active_processes: Long = strawberry.field(description="Processes that have not ended.")
    processes_by_state: list[StateCount] = strawberry.field(
        description="Processes by state; states that none is in are left out."
    )
    llm_calls: Long = strawberry.field(description="LLM calls.")
    tool_calls: Long = strawberry.field(description="Tool calls.")
    tokens_in: Long = strawberry.field(description="Tokens sent to LLMs.")
    tokens_out: Long = strawberry.field(description="Tokens received from LLMs.")
    running: int = strawberry.field(description="Processes at work on this server.")
    in_line: int = strawberry.field(description="Processes in line for this server's slots.")
    taken_at: datetime = strawberry.field(description="When this was counted.")

    @classmethod
    def of(cls, sample: TowerSample) -> Self:
        counts = sample.metrics
        return cls(
            total_processes=Long(counts.total_processes),
            active_processes=Long(counts.active_processes),
            processes_by_state=[
                StateCount(state=ProcessState(state), count=Long(count))
                for state, count in counts.processes_by_state.items()
            ],
            llm_calls=Long(counts.system_llm_calls),
            tool_calls=Long(counts.system_tool_calls),
            tokens_in=Long(counts.system_tokens_in),
            tokens_out=Long(counts.system_tokens_out),
            running=sample.running,
            in_line=sample.in_line,
            taken_at=sample.taken_at,
        )


@strawberry.type
class MetricsQueries:
    @field("The Control Tower in numbers, over all users.")
    async def metrics(self, info: Info) -> Metrics:
        return Metrics.of(await info.context.node.samples.read())


@strawberry.type
class MetricsSubscriptions:
    @subscription("The Control Tower in numbers: now, and again and again.")
    async def metrics(
        self,
        info: Info,
        every_seconds: Annotated[
            float,
            strawberry.argument(description=f"Seconds between two: {LEAST:g} to {MOST:g}."),
        ] = 5.0,
    ) -> AsyncGenerator[Metrics, None]:
        if not LEAST <= every_seconds <= MOST:
            raise InvalidInput(
                "everySeconds", f"is {every_seconds:g}; send {LEAST:g} to {MOST:g} seconds"
            )
        return _samples(info.context.node.samples.follow(every_seconds))


async def _samples(samples: AsyncGenerator[TowerSample, None]) -> AsyncGenerator[Metrics, None]:
    async with aclosing(samples):
        async for sample in samples:
            yield Metrics.of(sample)
