"""Memory: what capabilities keep."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry

from ..core.memory.working import StateEntry
from .scalars import JSON


@strawberry.type(description="One key of a session's working memory.")
class WorkingState:
    capability: str = strawberry.field(description="Capability that keeps it.")
    key: str = strawberry.field(description="Name that the capability gave it.")
    value: JSON = strawberry.field(description="What is kept.")
    updated_at: datetime = strawberry.field(description="When it was last set.")

    @classmethod
    def of(cls, entry: StateEntry) -> Self:
        return cls(
            capability=entry.capability,
            key=entry.key,
            value=entry.value,
            updated_at=entry.updated_at,
        )
