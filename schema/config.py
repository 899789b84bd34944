"""Configs: what capabilities have registered to be configured by, without its secrets."""

from __future__ import annotations

from typing import Self

import strawberry

from ..core.config_view import ConfigField as FieldRecord
from ..core.config_view import config_fields, type_name
from .context import Info
from .fields import field
from .node import Node, global_id
from .plugin import Plugin
from .scalars import JSON


@strawberry.type(description="One field of a config.")
class ConfigField:
    name: str = strawberry.field(
        description="Its name; that of a config within the config comes before it, with a dot."
    )
    type: str = strawberry.field(description="Its type, as Python spells it.")
    description: str | None = strawberry.field(description="What it is for.")
    value: JSON | None = strawberry.field(
        description="Its value: a number, a truth value, or one of a fixed set of choices."
    )
    is_hidden: bool = strawberry.field(
        description="Whether it has a value that is not shown: any text or object could hold a"
        " secret, and so could what is named like one."
    )

    @classmethod
    def of(cls, record: FieldRecord) -> Self:
        return cls(
            name=record.name,
            type=record.type,
            description=record.description,
            value=None if record.value is None else JSON(record.value),
            is_hidden=record.hidden,
        )


@strawberry.type(description="What a capability is configured by. Secrets are never shown.")
class Config(Node):
    config: strawberry.Private[object]
    name: str = strawberry.field(description="Name that it is registered by.")
    type: str = strawberry.field(description="Its type, as Python spells it.")

    @field("Its fields; none where it is neither a pydantic model, a dataclass nor a mapping.")
    def fields(self) -> list[ConfigField]:
        return [ConfigField.of(each) for each in config_fields(self.config)]

    @field("The plugin that brings it; null where the embedding program does.")
    def plugin(self, info: Info) -> Plugin | None:
        return Plugin.bringing(info, "configs", self.name)

    @classmethod
    def of(cls, name: str, config: object) -> Self:
        id = global_id("Config", name)
        return cls(id=id, config=config, name=name, type=type_name(config))

    @classmethod
    def all(cls, info: Info) -> list[Self]:
        registry = info.context.node.runtime.config_registry
        return [cls.of(name, registry.get(name)) for name in sorted(registry)]

    @classmethod
    async def find(cls, info: Info, key: str) -> Self | None:
        registry = info.context.node.runtime.config_registry
        return cls.of(key, registry.get(key)) if key in set(registry) else None


@strawberry.type
class ConfigQueries:
    @field("What the capabilities are configured by, by name. Secrets are never shown.")
    def configs(self, info: Info) -> list[Config]:
        return Config.all(info)
