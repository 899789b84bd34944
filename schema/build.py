"""The schema, put together."""

from __future__ import annotations

from functools import cache
from typing import Any

from strawberry.directive import StrawberryDirective
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.name_converter import NameConverter
from strawberry.schema_directive import StrawberrySchemaDirective
from strawberry.types.base import StrawberryType
from strawberry.types.scalar import ScalarDefinition

from ..core.settings import Settings
from ..plugins.host import PluginHost
from .errors import error_members
from .execution.schema import MissionSchema
from .extension import AddedFields, NameTaken, extend
from .limits import Limits
from .roots import Mutation, Query, Subscription
from .scalars import SCALARS
from .subscribers import Subscribers

__all__ = ["MissionSchema", "build_schema", "sdl"]


class Names(NameConverter):
    """Remembers what names are in GraphQL: arguments are asked for theirs at every request.

    Finds the types that have one name where Strawberry's own errors name none, or nothing at all:
    scalars, and types of different kinds. Types of one kind it tells apart by itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.apply_naming_config = cache(super().apply_naming_config)  # type: ignore[method-assign]
        self._named: dict[str, object] = {}

    def from_type(self, type_: StrawberryType | StrawberryDirective[Any]) -> str:
        name = super().from_type(type_)
        if isinstance(type_, StrawberryDirective | StrawberrySchemaDirective):
            return name  # these have names of their own
        known = self._named.setdefault(name, type_)
        if type(known) is not type(type_) or (
            isinstance(type_, ScalarDefinition) and known != type_
        ):
            raise NameTaken(name)
        return name


def build_schema(
    settings: Settings | None = None,
    limits: Limits | None = None,
    plugins: PluginHost | None = None,
) -> MissionSchema:
    """The GraphQL schema of one server. Operations need a `Context` as their context value.

    `settings` None takes the defaults, whatever the environment says. A plugin whose contribution
    does not fit is marked as failed, and the schema is what it is without it.
    """
    settings = settings or Settings.model_construct()
    subscribers = Subscribers(settings.max_user_subscriptions)

    def make(added: AddedFields) -> MissionSchema:
        return MissionSchema(
            added=added,
            subscribers=subscribers,
            limits=limits or Limits(),
            timeout=settings.operation_timeout_seconds,
            introspection=settings.introspection,
            query=Query,
            mutation=Mutation,
            subscription=Subscription,
            exception_handlers=error_members(),
            config=StrawberryConfig(name_converter=Names(), scalar_map=SCALARS),
        )

    return extend(make, plugins) if plugins else make({})


def sdl() -> str:
    """The schema in its definition language, as `schema.graphql` holds it."""
    return build_schema().as_str() + "\n"
