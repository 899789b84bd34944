"""A plugin's own settings: from the environment and `.env`, as the server's are."""

from __future__ import annotations

import re

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from ..core.settings import Settings
from .faults import PluginFault
from .hookspecs import PluginContext
from .implementations import Implementations, call
from .returned import calling, type_name

HOOK = "register_settings"


def read_settings(hooks: Implementations, context: PluginContext) -> BaseSettings | None:
    """What the plugin's class of settings finds; None for a plugin without one.

    Raises:
        PluginFault: it is no such class, a variable would be the server's too, or one does not
            validate.
    """
    found: list[object] = []
    for implementation in hooks.get(HOOK, ()):
        with calling(HOOK):
            found.append(call(implementation, context=context))
    if not found:
        return None
    [kind, *others] = found
    if others:
        raise PluginFault(f"{HOOK}() is implemented twice.", "Put all fields into one class.")
    if not isinstance(kind, type) or not issubclass(kind, BaseSettings):
        given = kind.__name__ if isinstance(kind, type) else type_name(kind)
        raise PluginFault(
            f"{HOOK}() returned {given}, expected a class of pydantic-settings.",
            "Return the class itself: `class WeatherSettings(BaseSettings)` and `return"
            " WeatherSettings`.",
        )
    prefix = prefix_of(context.name)
    for field in kind.model_fields:
        if f"{prefix}{field}".removeprefix("MISSION_").lower() in Settings.model_fields:
            raise PluginFault(
                f"{HOOK}() has the field '{field}', whose variable {prefix}{field.upper()} is one"
                " of the server's own.",
                "Rename the field.",
            )
    with calling(HOOK):
        return _read(kind, prefix)


def prefix_of(plugin: str) -> str:
    """`MISSION_CODE_ANALYSIS_` for the plugin `code-analysis`."""
    return f"MISSION_{re.sub(r'[^A-Za-z0-9]', '_', plugin).upper()}_"


def _read(kind: type[BaseSettings], prefix: str) -> BaseSettings:
    # A class of its own for the prefix: the plugin's is left as it is. Variables that it does not
    # have may be those of a plugin whose name begins with this one's.
    config = SettingsConfigDict(env_prefix=prefix, env_file=".env", extra="ignore")
    prefixed = type(kind.__name__, (kind,), {"model_config": config, "__module__": kind.__module__})
    try:
        settings: BaseSettings = prefixed()
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(f"{_variable(prefix, each['loc'])}: {each['msg']}" for each in problems)
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        told = f"{_variable(prefix, (field[1] if field else '',))}: is not the JSON that it takes"
    else:
        return settings
    raise PluginFault(
        f"its settings do not validate: {told}.", "Set them in the environment or in .env."
    )


def _variable(prefix: str, location: tuple[int | str, ...]) -> str:
    return prefix + "__".join(str(part) for part in location).upper()
