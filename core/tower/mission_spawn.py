"""`mission.spawn`: another process as a journaled step."""

from __future__ import annotations

from typing import Any, cast

from ..capabilities import Reply
from ..chat.text import MAX_ID, MAX_MESSAGE, checked
from ..clock import now
from ..errors import ChildFailed, InvalidInput, QuotaExceeded
from ..identity import new_id
from .branches import current_branch
from .children import REPLY, SPAWN, Spawning
from .codec import digest, encode_error, plain
from .effects import Run
from .journal import Record
from .process import CHILD, Quota
from .suspension import Suspended

NOT_SERVED = "not_served"


async def spawn(
    run: Run, capability: str, message: str, context: dict[str, Any], quota: Quota | None
) -> Reply:
    """What the child has replied; suspends until it has ended. See `Mission.spawn`."""
    checked("capability", capability, longest=MAX_ID)
    checked("message", message, longest=MAX_MESSAGE)
    context = plain("the context of a child", context)
    branch = current_branch()
    key = branch.next_key()
    found = run.match(branch, key, SPAWN, capability)
    if found is not None and found.status != "started":
        return cast(Reply, run.replay(branch, found, REPLY))
    if found is None:
        inputs = digest([message, context])
        record = Record(key, SPAWN, capability, inputs, "started", now())
        try:
            spec = run.capabilities.choose(capability)
        except InvalidInput as error:  # the author's mistake, not that of who sent the message
            failure = ChildFailed("", capability, NOT_SERVED, error.text)
            await run.charge_at(branch, record, "steps")
            record.status, record.error = "failed", encode_error(capability, failure)
            await run.ledger.commit(run.storing(record))
            run.journal.add(record)
            raise failure from None
        deepest = run.runtime.settings.max_depth
        if run.process.depth >= deepest:
            text = f"a child of this process would be more than {deepest} levels deep"
            raise run.refused(record, QuotaExceeded("max_depth_exceeded", text))
        await run.charge_at(branch, record, "steps")
        run.spawning.append(Spawning(new_id(), key, inputs, spec, message, context, quota))
    run.awaiting.append(key)
    raise branch.suspend(Suspended(CHILD))
