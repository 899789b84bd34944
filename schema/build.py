"""The schema, put together."""

from __future__ import annotations

from functools import partial
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from ..core.settings import Settings
from ..plugins.host import PluginHost
from .documents import Documents, PrepareDocument
from .errors import error_members, presented
from .extension import AddedFields, extend
from .limits import Limits
from .roots import Mutation, Query, Subscription
from .scalars import SCALARS
from .subscribers import Subscribers


class MissionSchema(strawberry.Schema):
    """The schema; every error of every operation leaves through `presented`. `subscribers` counts
    who follows what over it."""

    def __init__(self, *, added: AddedFields, subscribers: Subscribers, **parts: Any) -> None:
        self._added = added
        self.subscribers = subscribers
        super().__init__(**parts)

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        return [*type_definition.fields, *self._added.get(type_definition.name, ())]

    def process_errors(
        self,
        errors: list[GraphQLError],
        execution_context: ExecutionContext | None = None,  # noqa: ARG002
    ) -> None:
        # In place: this list is the one that the result carries.
        errors[:] = [presented(error) for error in errors]


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
    documents = Documents(
        lambda: schema._schema, limits or Limits(), introspection=settings.introspection
    )
    subscribers = Subscribers(settings.max_user_subscriptions)
    prepare = partial(PrepareDocument, documents, subscribers, settings.operation_timeout_seconds)

    def make(added: AddedFields) -> MissionSchema:
        return MissionSchema(
            added=added,
            subscribers=subscribers,
            query=Query,
            mutation=Mutation,
            subscription=Subscription,
            extensions=[prepare],
            exception_handlers=error_members(),
            config=StrawberryConfig(scalar_map=SCALARS),
        )

    schema = extend(make, plugins) if plugins else make({})
    return schema


def sdl() -> str:
    """The schema in its definition language, as `schema.graphql` holds it."""
    return build_schema().as_str() + "\n"
