"""Long work on the event loop, in turns with what else there is to do."""

from __future__ import annotations

import asyncio
from time import perf_counter

TURN_SECONDS = 0.005


class Turn:
    """To be asked between small steps."""

    def __init__(self) -> None:
        self._began = perf_counter()

    async def over(self) -> None:
        """Let others have theirs, if this one has been long."""
        if perf_counter() - self._began > TURN_SECONDS:
            await asyncio.sleep(0)
            self._began = perf_counter()
