"""Prompts: the texts that capabilities hand to models."""

from __future__ import annotations

from typing import Self

import strawberry

from ..core.prompts import Prompt as PromptRecord
from .context import Info
from .fields import field
from .node import Node, global_id


@strawberry.type(description="One version of a text that capabilities hand to models.")
class Prompt(Node):
    name: str = strawberry.field(description="Name that it is used by.")
    version: int = strawberry.field(
        description="Version. A process keeps the one that it has read first."
    )
    description: str = strawberry.field(description="What it is for.")
    text: str = strawberry.field(
        description="The text, with `$placeholders`; `$$` stands for a dollar sign."
    )
    placeholders: list[str] = strawberry.field(description="Names of its placeholders.")
    is_used: bool = strawberry.field(
        description="Whether processes that read it now get this version."
    )
    is_overridden: bool = strawberry.field(
        description="Whether the server's settings have put another text in place of its own."
    )

    @classmethod
    def of(cls, record: PromptRecord, *, is_used: bool) -> Self:
        return cls(
            id=global_id("Prompt", f"{record.version}:{record.name}"),
            name=record.name,
            version=record.version,
            description=record.description,
            text=record.text,
            placeholders=list(record.placeholders),
            is_used=is_used,
            is_overridden=record.overridden,
        )

    @classmethod
    def all(cls, info: Info) -> list[Self]:
        """Raises Forbidden unless an administrator asks."""
        context = info.context
        listed = context.node.runtime.prompts.listed(context.caller)
        return [cls.of(prompt, is_used=is_used) for prompt, is_used in listed]

    @classmethod
    async def find(cls, info: Info, key: str) -> Self | None:
        id = global_id("Prompt", key)
        return next((each for each in cls.all(info) if each.id == id), None)


@strawberry.type
class PromptQueries:
    @field(
        "Prompts of the installed plugins, by name, the newest version of each first. For"
        " administrators."
    )
    def prompts(self, info: Info) -> list[Prompt] | None:
        return list(Prompt.all(info))
