"""`mission schema` and `mission openapi`: what this installation serves, written down."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ...core.errors import InvalidInput

schema = typer.Typer(no_args_is_help=True, help="Write and compare the GraphQL schema.")
openapi = typer.Typer(no_args_is_help=True, help="Write the description of the REST interface.")

BROKEN = 1
"""The exit code where clients would break."""


@schema.callback()
def schema_group() -> None:
    """Write and compare the GraphQL schema."""


@openapi.callback()
def openapi_group() -> None:
    """Write the description of the REST interface."""


@schema.command("export")
def export_schema() -> None:
    """Write the schema that a server of this installation serves, plugins included."""
    sys.stdout.write(_served())


@schema.command("diff")
def diff_schema(
    old: Annotated[
        Path, typer.Argument(help="An earlier schema, as `mission schema export` wrote it.")
    ],
) -> None:
    """Tell what breaks clients of an earlier schema. Exit code 1 where something does."""
    from graphql import GraphQLError

    from ...schema.evolution import breaks

    try:
        found = breaks(old.read_text("utf-8"), _served())
    except UnicodeDecodeError:
        raise InvalidInput("old", f"{old} is not UTF-8 text") from None
    except GraphQLError as error:
        raise InvalidInput("old", f"{old} is no GraphQL schema: {error.message}") from None
    for change in found:
        typer.echo(change.description)
    if found:
        raise typer.Exit(BROKEN)
    typer.echo("Nothing breaks.")


@openapi.command("export")
def export_openapi() -> None:
    """Write the OpenAPI description of the REST interface."""
    import orjson

    from ..rest.openapi import describe
    from ..rest.table import OPERATIONS

    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    sys.stdout.write(orjson.dumps(describe(OPERATIONS), option=options).decode())


def _served() -> str:
    from ...plugins.loader import load_plugins
    from ...schema.build import build_schema
    from ..logs import configure_logs
    from .settings import settings_from

    settings = settings_from()
    configure_logs(settings, level="critical")  # what does not load, `mission plugins list` tells
    return build_schema(settings, plugins=load_plugins(settings)).as_str() + "\n"
