"""`mission serve`: run a server until it is told to stop."""

from __future__ import annotations

import typer

from .options import Data, Host, Insecure, Port


def serve(
    host: Host = None, port: Port = None, data: Data = None, insecure: Insecure = False
) -> None:
    """Run a server. Ctrl-C stops it in good order, a second one at once."""
    from ..logs import configure_logs
    from ..serve import serve as run
    from .settings import settings_from

    settings = settings_from(host=host, port=port, data=data, insecure=insecure or None)
    configure_logs(settings)
    raise typer.Exit(run(settings))
