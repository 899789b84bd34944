"""`mission demo`: a server and a first question, in one command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Data, Port

if TYPE_CHECKING:
    from ...core.settings import Settings

CAPABILITY = "code-analysis"
DISTRIBUTION = "mission-code-analysis"
ROOT = "MISSION_CODE_ANALYSIS_ROOT"
QUESTION = "Where is ControlTower defined and who uses it?"


def demo(
    question: Annotated[str, typer.Option(help="What to ask about the code.")] = QUESTION,
    data: Data = None,
    port: Port = None,
    once: Annotated[bool, typer.Option("--once", help="Stop after the answer.")] = False,
) -> None:
    """Start a server, ask it about the code in the current folder, and keep it running.

    MISSION_CODE_ANALYSIS_ROOT names another folder to ask about.
    """
    from ..logs import configure_logs
    from ..signals import run_stoppable
    from .settings import settings_from

    os.environ.setdefault(ROOT, os.getcwd())
    settings = settings_from(data=data, port=port, auth="none")
    configure_logs(settings, level="warning")  # the events on the screen are the story
    raise typer.Exit(run_stoppable(_demo(settings, question, once)))


async def _demo(settings: Settings, question: str, once: bool) -> int:
    from ..serve import serving
    from .client import Client
    from .conversation import Conversation
    from .documents import CAPABILITIES
    from .terminal import Terminal

    terminal = Terminal()
    async with serving(settings) as server:
        for name, path in (("GraphiQL", "/graphql"), ("health", "/health"), ("ready", "/ready")):
            terminal.tell(f"{name:10}{server.url}{path}", "none")
        client = Client(lambda: server.url)
        served = (await client.execute(CAPABILITIES, {}))["capabilities"]
        capability = CAPABILITY if {"name": CAPABILITY} in served else None
        if capability is None:
            terminal.tell(
                f"The capability '{CAPABILITY}' is not installed, so the default one answers."
                f" To ask about code: pip install {DISTRIBUTION}"
                " (in a checkout: pip install ./examples/code-analysis)",
                "yellow",
            )
        terminal.tell(f"> {question}", "bold")
        code = await Conversation(client, terminal).send(question, None, capability)
        if not once:
            terminal.tell("The server goes on; Ctrl-C stops it.", "none")
            await server.stopped()
    return code
