"""The schema, put together."""

from __future__ import annotations

from functools import partial

import strawberry
from graphql import GraphQLError
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from ..core.settings import Settings
from .documents import Documents, PrepareDocument
from .errors import error_members, presented
from .limits import Limits
from .roots import Mutation, Query, Subscription
from .scalars import SCALARS


class MissionSchema(strawberry.Schema):
    """The schema; every error of every operation leaves through `presented`."""

    def process_errors(
        self,
        errors: list[GraphQLError],
        execution_context: ExecutionContext | None = None,  # noqa: ARG002
    ) -> None:
        # In place: this list is the one that the result carries.
        errors[:] = [presented(error) for error in errors]


def build_schema(settings: Settings | None = None, limits: Limits | None = None) -> MissionSchema:
    """The GraphQL schema of one server. Operations need a `Context` as their context value.

    `settings` None takes the defaults, whatever the environment says.
    """
    timeout = (
        settings.operation_timeout_seconds
        if settings
        else Settings.model_fields["operation_timeout_seconds"].default
    )
    documents = Documents(lambda: schema._schema, limits or Limits())
    schema = MissionSchema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        extensions=[partial(PrepareDocument, documents, timeout)],
        exception_handlers=error_members(),
        config=StrawberryConfig(scalar_map=SCALARS),
    )
    return schema


def sdl() -> str:
    """The schema in its definition language, as `schema.graphql` holds it."""
    return build_schema().as_str() + "\n"
