"""Options that several commands share. None leaves a setting to the environment."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option(help="Folder that holds everything the server stores.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Serve other machines without authentication.")
]
Url = Annotated[str | None, typer.Option(help="A server elsewhere, such as http://127.0.0.1:8000.")]
User = Annotated[str | None, typer.Option(help="User to ask as.")]


def answer_command(interrupt_id: str, options: Sequence[str]) -> str:
    """What to type to answer a question; `options` lead to the same server as the same user."""
    words = ["mission", "answer", interrupt_id, '"..."', shlex.join(options)]
    return " ".join(words).rstrip()
