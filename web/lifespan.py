"""Starts and stops what one server is made of, in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from starlette.applications import Starlette

from ..plugins.observers import observing
from .state import AppState


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Serving between enter and exit; a start that fails stops again what it had started.

    Plugins start before the first process runs, and stop after the last one has ended. An
    application lives once: to serve again, create another.

    Raises:
        LeaseHeld: another server uses the data folder.
        RuntimeError: it was started before.
    """
    state = cast(AppState, app.state)
    if state.phase not in ("new", "starting"):  # who listens before the start says so before it
        raise RuntimeError("an application lives once: to serve again, create another")
    state.phase = "starting"
    try:
        await state.node.start(_plugins(state))
        state.phase = "serving"
        yield
    finally:
        state.phase = "draining"
        await state.node.stop()
        state.phase = "stopped"


@asynccontextmanager
async def _plugins(state: AppState) -> AsyncIterator[None]:
    try:
        await state.plugins.started(state.node.runtime)
        async with observing(state.plugins, state.node.feed):
            yield
    finally:
        await state.plugins.stopping(state.node.runtime)
