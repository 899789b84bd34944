"""The life of plugins around the work of a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from .host import PluginHost
from .observers import observing

if TYPE_CHECKING:
    from ..core.node import Node


@asynccontextmanager
async def living(host: PluginHost, node: Node) -> AsyncIterator[None]:
    """Plugins start before the body, hear of events while it runs, and stop after it."""
    try:
        await host.started(node.runtime)
        async with observing(host, node.feed):
            yield
    finally:
        await host.stopping(node.runtime)
