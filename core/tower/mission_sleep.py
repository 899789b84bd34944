"""`mission.sleep`: a pause as a journaled step, long ones without a run."""

from __future__ import annotations

import asyncio

from ..clock import SECOND, now
from ..errors import InvalidInput
from .branches import current_branch
from .codec import ANY, digest
from .effects import Run
from .journal import Record
from .process import SLEEPING
from .steps import Done
from .suspension import Suspended

SHORT_SECONDS = 1.0  # up to here a run waits in its place
LONGEST_SECONDS = 100 * 365 * 86_400  # what is far beyond is no time that can be stored
SLEEP = "sleep"


async def sleep(run: Run, seconds: float) -> None:
    """See `Mission.sleep`."""
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise InvalidInput(
            "seconds", f"is {seconds:g}; give a number from 0 to {LONGEST_SECONDS} (100 years)"
        )
    if seconds <= SHORT_SECONDS:
        await _in_place(run, seconds)
        return
    branch = current_branch()
    key = branch.next_key()
    found = run.match(branch, key, SLEEP, SLEEP)
    if found is not None and found.status != "started":
        run.replay(branch, found, ANY)
        return
    if found is None:
        found = Record(key, SLEEP, SLEEP, digest(seconds), "started", now())
        await run.charge_at(branch, found, "steps")
        run.ledger.put(run.storing(found))
    wake_at = found.created_at + int(seconds * SECOND)
    if wake_at > now():
        run.wakes.append(wake_at)
        raise branch.suspend(Suspended(SLEEPING))
    found.status, found.output, found.duration = "completed", "null", now() - found.created_at
    await run.ledger.commit(run.storing(found))


async def _in_place(run: Run, seconds: float) -> None:
    async def call(key: str, _attempt: int) -> Done:
        began = run.journal.began(key) or now()
        await asyncio.sleep(seconds - (now() - began) / SECOND)
        return Done(None)

    await run.perform(SLEEP, SLEEP, seconds, ANY, call, announced=True)
