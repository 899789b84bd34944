"""`mission plugins`: what is installed here, and what is wrong with it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ...plugins.report import PluginReport

plugins = typer.Typer(no_args_is_help=True, help="Look at the installed plugins.")


@plugins.callback()
def group() -> None:
    """Look at the installed plugins."""


@plugins.command("list")
def list_plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")] = False,
) -> None:
    """List the plugins of this installation. Needs no server."""
    from ...plugins.loader import load_plugins
    from ..logs import configure_logs
    from .settings import settings_from

    settings = settings_from()
    configure_logs(settings, level="critical")  # what the log would say, the table says
    host = load_plugins(settings)
    if any(report.graphql for report in host.reports):
        from ...schema.build import build_schema

        build_schema(settings, plugins=host)  # tells of what does not fit the schema
    reports = host.reports
    if as_json:
        import orjson

        listed = [asdict(report) for report in reports]
        sys.stdout.write(orjson.dumps(listed, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _show(reports)


def _show(reports: tuple[PluginReport, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=None, pad_edge=False)
    for column in ("plugin", "status", "distribution", "contributes"):
        table.add_column(column, overflow="fold")
    for report in reports:
        table.add_row(
            Text(report.name),
            Text(report.status, style="green" if report.status == "loaded" else "red"),
            Text(f"{report.distribution or '-'} {report.version or ''}".strip()),
            Text(_contributions(report) or "-"),
        )
    console.print(table)
    for report in reports:
        if report.reason or report.fix:
            console.print()
            console.print(Text(f"{report.name}: {report.reason or report.status}", style="red"))
            console.print(Text(report.fix or ""))


def _contributions(report: PluginReport) -> str:
    kinds = {
        "capabilities": report.orchestrators,
        "tools": report.tools,
        "configs": report.configs,
        "prompts": report.prompts,
        "services": report.services,
        "fields of": report.graphql,
        "LLM providers": report.llm_providers,
        "routes": report.routes,
        "observers": report.event_observers,
        "checks": report.readiness_checks,
        "commands": report.commands,
        "memory layers": report.memory_layers,
        "alignment indicators": report.alignment_indicators,
    }
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)
