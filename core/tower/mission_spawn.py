"""`mission.spawn`: another process as a journaled step."""

from __future__ import annotations

from typing import Any, cast

from ..capabilities import Reply
from ..chat.text import MAX_MESSAGE, checked
from ..errors import QuotaExceeded
from ..identity import new_id
from .branches import current_branch
from .children import REPLY, SPAWN, Spawning
from .codec import digest, plain
from .effects import Run
from .process import CHILD, Quota
from .suspension import Suspended


async def spawn(
    run: Run, capability: str, message: str, context: dict[str, Any], quota: Quota | None
) -> Reply:
    """What the child has replied; suspends until it has ended. See `Mission.spawn`."""
    checked("message", message, longest=MAX_MESSAGE)
    context = plain("the context of a child", context)
    branch = current_branch()
    key = branch.next_key()
    found = run.match(branch, key, SPAWN, capability)
    if found is not None and found.status != "started":
        return cast(Reply, run.replay(branch, found, REPLY))
    if found is None:
        spec = run.capabilities.choose(capability)
        deepest = run.runtime.settings.max_depth
        if run.process.depth >= deepest:
            text = f"a child of this process would be more than {deepest} levels deep"
            raise QuotaExceeded("max_depth_exceeded", text)
        await run.charge(branch, "steps")
        inputs = digest([message, context])
        run.spawning.append(Spawning(new_id(), key, inputs, spec, message, context, quota))
    run.awaiting.append(key)
    raise branch.suspend(Suspended(CHILD))
