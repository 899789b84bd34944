"""Which names after `mission` no plugin can have."""

from __future__ import annotations

import typer

from mission_system.plugins.contributions import COMMANDS_OF_SERVER
from mission_system.web import cli


def test_the_names_of_the_server_s_own_commands_are_known_to_the_hook() -> None:
    group = typer.main.get_command(cli._app())
    assert set(group.commands) == set(COMMANDS_OF_SERVER)  # type: ignore[attr-defined]  # pyright: ignore
