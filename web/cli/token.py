"""`mission token`: who may come in, where the server asks (MISSION_AUTH=tokens).

Whoever can write the data may make tokens: these commands open the storage themselves, beside a
running server where there is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Data

if TYPE_CHECKING:
    from ...core.tokens.service import TokenService
    from ...core.tokens.token import Token

token = typer.Typer(no_args_is_help=True, help="Make, list and revoke tokens of callers.")


class _Role(StrEnum):
    user = "user"
    admin = "admin"
    service = "service"


@token.command("create")
def create(
    user: Annotated[str, typer.Argument(help="Whose it is.")],
    role: Annotated[
        _Role,
        typer.Option(
            help="user: their own things. admin: govern the server as well. service: act for the"
            " users that each request names."
        ),
    ] = _Role.user,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[float | None, typer.Option(help="Days that it lives; else for ever.")] = None,
    data: Data = None,
) -> None:
    """Make a token and show it: the only time that anybody sees it."""

    async def work() -> tuple[Token, str]:
        async with _tokens(data, make=True) as tokens:
            return await tokens.create(user, role=role.value, label=label, days=days)

    _, secret = asyncio.run(work())
    typer.echo(secret)


@token.command("list")
def list_tokens(data: Data = None) -> None:
    """List the tokens, without their secrets."""

    async def work() -> list[Token]:
        async with _tokens(data) as tokens:
            return await tokens.list_tokens()

    found = asyncio.run(work())
    if not found:
        typer.echo("there are no tokens; make one with: mission token create USER", err=True)
    for each in found:
        until = each.expires_at.isoformat(" ", "minutes") if each.expires_at else "for ever"
        state = "revoked" if each.revoked_at else "expired" if not each.valid else until
        typer.echo("  ".join((each.id, each.role.ljust(7), each.user_id, state, each.label)))


@token.command("revoke")
def revoke(
    token_id: Annotated[str, typer.Argument(help="Its id, as `mission token list` shows it.")],
    data: Data = None,
) -> None:
    """End a token. Connections that are open with it end within a minute."""

    async def work() -> Token:
        async with _tokens(data) as tokens:
            return await tokens.revoke(token_id)

    revoked = asyncio.run(work())
    typer.echo(f"revoked: {revoked.id} of {revoked.user_id}")


@asynccontextmanager
async def _tokens(data: Path | None, *, make: bool = False) -> AsyncIterator[TokenService]:
    """Those of the storage that is there; with `make`, of a new one where there is none."""
    from ...core.storage.database import make_database
    from ...core.storage.lease import LeaseHeld
    from ...core.tokens.service import TokenService
    from .settings import settings_from

    database = make_database(settings_from(data=data))
    try:
        await (database.open() if make else database.open_beside())
    except LeaseHeld:
        await database.open_beside()
    try:
        yield TokenService(database)
    finally:
        await database.close()
