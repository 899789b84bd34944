"""The command line, `mission`. Commands import what they need when they run, so help is instant."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer

from ...core.errors import MissionError
from .ask import answer, ask, list_questions
from .cleanup import cleanup
from .demo import demo
from .new import new
from .plugin_commands import Commands
from .plugins import plugins
from .schema import openapi, schema
from .serve import serve
from .token import token


def main() -> None:
    """The entry point. What a person can act on is told in a line or two, without a trace."""
    for stream in (sys.stdout, sys.stderr):
        # What a terminal cannot show must not end a command. A closed one has no stream at all.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        _app()()
    except MissionError as error:
        _fail(error.message)
    except OSError as error:  # a folder or file that the person named, or their disk
        _fail(f"{error.strerror}: {error.filename}" if error.filename else str(error))


def _fail(message: str) -> NoReturn:
    for line in message.splitlines():
        sys.stderr.write(f"mission: {line}\n")
    sys.exit(2)


def _app() -> typer.Typer:
    app = typer.Typer(
        cls=Commands,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Runs pip-installable capabilities: journaled, resumable, bounded.",
        epilog="Plugins may add commands of their own: mission plugins list.",
    )
    app.callback()(_options)
    for command in (demo, serve, ask, list_questions, answer, cleanup, new):
        # A module of this package has the name of the command `questions`.
        name = "questions" if command is list_questions else command.__name__
        app.command(name)(command)
    app.add_typer(plugins, name="plugins")
    app.add_typer(token, name="token")
    app.add_typer(schema, name="schema")
    app.add_typer(openapi, name="openapi")
    return app


def _show_version(asked: bool) -> None:
    if asked:
        from ...core.version import __version__

        typer.echo(f"mission-system {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None: ...
