"""`mission cleanup`: remove what is old, through the running server or without one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Data

if TYPE_CHECKING:
    from ...core.settings import Settings
    from .client import Json


def cleanup(
    days: Annotated[
        int | None,
        typer.Option(min=0, help="Days for which ended processes and events are kept."),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=0, help="Ended requests that each session keeps.")
    ] = None,
    data: Data = None,
) -> None:
    """Remove ended processes and events that are old. Messages stay.

    What is not given is as the settings say. A server that runs on the data folder does the work;
    where none runs, the command does.
    """
    from ..signals import run_stoppable
    from .settings import settings_from

    code = run_stoppable(_clean_up(settings_from(data=data), {"days": days, "keep": keep}), 130)
    raise typer.Exit(code)


async def _clean_up(settings: Settings, kept: Json) -> int:
    from ...core.storage.lease import Lease

    holder = Lease.read(settings.data)
    removed = await (_here(settings, kept) if holder is None else _there(holder.url, kept))
    counts = ", ".join(f"{removed[name]} {name}" for name in ("processes", "steps", "events"))
    typer.echo(f"removed {counts}")
    return 0


async def _there(url: str | None, kept: Json) -> Json:
    from .client import Client, Refused, ServerGone
    from .documents import CLEAN_UP

    if url is None:
        raise ServerGone("the server is starting; try again when it listens")
    client = Client(lambda: url, token=os.environ.get("MISSION_TOKEN"))
    result: Json = (await client.execute(CLEAN_UP, {"input": kept}))["result"]
    if "message" in result:
        raise Refused(result["message"])
    return result


async def _here(settings: Settings, kept: Json) -> Json:
    from dataclasses import asdict

    from ...core.cleanup import CleanUp
    from ...core.identity import LOCAL
    from ...core.storage.database import make_database

    database = make_database(settings)
    await database.open_beside()  # which makes nothing, where nothing is
    await database.close()
    await database.open()  # and no server starts meanwhile
    try:
        return asdict(await CleanUp(settings, database).clean_up(LOCAL, **kept))
    finally:
        await database.close()
