"""Variables that look like settings and that nobody reads: most likely misspelled."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from ..core.settings import Settings
from .own_settings import prefix_of

PREFIX = "mission_"
OF_COMMANDS = ("token",)
"""Read by the command line; no settings of a server."""


def unknown_variables(plugins: Iterable[str]) -> dict[str, str | None]:
    """The `MISSION_*` variables of the environment and `.env` that nobody reads, each with the one
    that was most likely meant, or None. What begins with the prefix of one of `plugins`, named as
    they are installed, is that plugin's.
    """
    known = [*Settings.model_fields, *OF_COMMANDS]
    owned = tuple(prefix_of(plugin).lower() for plugin in plugins)
    unknown: dict[str, str | None] = {}
    for source in (EnvSettingsSource(Settings), DotEnvSettingsSource(Settings)):
        for variable in map(str.lower, source.env_vars):
            name = variable.removeprefix(PREFIX)
            head = name.partition("__")[0]  # `MISSION_QUOTA__MAX_STEPS` is part of one setting
            if name == variable or head in known or variable.startswith(owned):
                continue
            meant = get_close_matches(head, known, n=1)
            unknown[variable.upper()] = f"{PREFIX}{meant[0]}".upper() if meant else None
    return unknown
