"""`mission new`: the first version of a capability."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new(
    name: Annotated[str, typer.Argument(help="Its name, such as acme-docs.")],
    parent: Annotated[
        Path,
        typer.Option("--in", help="Folder to make it in.", exists=True, file_okay=False),
    ] = Path(),
) -> None:
    """Write a capability that installs, answers and tests itself, to go on from."""
    from ...plugins.scaffold import write_capability

    target = write_capability(name, parent)
    typer.echo(f"Wrote {target}. To go on:")
    typer.echo(f"  cd {target}\n  pip install -e '.[test]'\n  pytest\n  mission plugins list")
