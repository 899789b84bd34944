"""`mission <plugin> <command>`: commands of an installed plugin, loaded when one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import structlog
import typer
from typer.core import TyperGroup

from ...core.errors import MissionError

if TYPE_CHECKING:
    from ...plugins.host import Plugin

log = structlog.get_logger(__name__)

# Click's ClickException. Typer brings a Click of its own, whose types have no public names.
USAGE = typer.BadParameter.__mro__[2]


class UnusablePlugin(MissionError):
    """A plugin whose commands were asked for did not load, or has none."""

    code = "UNUSABLE_PLUGIN"


class CommandFailed(MissionError):
    """A plugin's command raised what is no word to the person who typed it."""

    code = "COMMAND_FAILED"


class Commands(TyperGroup):
    """The server's own commands, and behind them a group for each plugin that has some.

    Help lists the server's own alone: to know those of plugins, all of them would be imported.
    """

    # Typer brings a Click of its own, whose types have no public names.
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or _commands_of(cmd_name)


def _commands_of(name: str) -> Any:
    """The group of an installed plugin, None where there is no such plugin.

    Raises:
        UnusablePlugin: it did not load, has no commands, or has one that Typer cannot read.
    """
    from ...plugins.discovery import installed
    from ...plugins.loader import load_plugins
    from ..logs import configure_logs
    from .settings import settings_from

    if name not in [candidate.name for candidate in installed()]:
        return None
    settings = settings_from()
    configure_logs(settings, level="critical")  # what the log would say, the error says
    host = load_plugins(settings, only=name)
    if not host.loaded:
        raise UnusablePlugin("\n".join(str(report) for report in host.reports))
    [plugin] = host.loaded
    if not plugin.contributions.commands:
        raise UnusablePlugin(f"the plugin {plugin.report.title} has no commands")
    return _group(plugin)


def _group(plugin: Plugin) -> Any:
    from ...plugins.contributions import command_name
    from ...plugins.faults import PluginFault, guard

    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help=f"Commands of the plugin {plugin.report.title}.",
    )
    app.callback()(_callback)  # so that a single command keeps its name
    for function in plugin.contributions.commands:
        app.command(command_name(function))(_explained(function, plugin))
    try:
        with guard("reading its commands", "Use argument types that Typer knows."):
            return typer.main.get_command(app)
    except PluginFault as fault:
        raise UnusablePlugin(
            f"Plugin {plugin.report.title}: {fault.reason}\n{fault.fix}"
        ) from fault


def _explained(function: Callable[..., object], plugin: Plugin) -> Callable[..., object]:
    """The command, whose failure is told in a line; the log has the trace, at `debug`."""
    from ...plugins.contributions import command_name
    from ...plugins.faults import describe
    from ..logs import configure_logs

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> object:
        try:
            return function(*args, **kwargs)
        except (MissionError, OSError, typer.Abort, typer.Exit):
            raise
        except Exception as error:
            if isinstance(error, USAGE):
                raise
            configure_logs(plugin.context.settings)
            name = f"mission {plugin.context.name} {command_name(function)}"
            log.debug("plugin.command_failed", command=name, exc_info=error)
            raise CommandFailed(
                f"`{name}` of the plugin {plugin.report.title} raised {describe(error)}."
                " MISSION_LOG_LEVEL=debug shows the trace."
            ) from error

    return run


def _callback() -> None: ...
