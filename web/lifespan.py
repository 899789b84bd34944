"""Starts and stops what one server is made of, in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import structlog
from starlette.applications import Starlette

from ..core.errors import MissionError
from ..plugins.life import living
from .state import AppState

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Serving between enter and exit; a start that fails stops again what it had started.

    While another server uses the database, the phase is `standby`, if the settings want it so.
    Plugins start before the first process runs, and stop after the last one has ended. An
    application lives once: to serve again, create another.

    Raises:
        LeaseHeld: another server uses the data folder, or the database.
        RuntimeError: it was started before.
    """
    state = cast(AppState, app.state)
    if state.phase not in ("new", "starting"):  # who listens before the start says so before it
        raise RuntimeError("an application lives once: to serve again, create another")
    state.phase = "starting"

    def stand_by(why: MissionError) -> None:
        if state.phase != "standby":
            log.info("server.standing_by", why=why.message)
            state.phase = "standby"

    waits = stand_by if state.settings.standby else None
    try:
        await state.node.start(living(state.plugins, state.node), waits)
        state.phase = "serving"
        yield
    finally:
        state.phase = "draining"
        await state.node.stop()
        state.phase = "stopped"
