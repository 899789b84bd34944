"""Names for steps: a path of branches and a counter within each.

Concurrent steps get keys that do not depend on which finished first, so that a replay finds them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ..errors import MissionError
from .suspension import Suspended

MAX_KEY = 200
"""Characters; a key is stored with up to 55 more, for the questions about its step."""


class OutsideBranch(MissionError):
    """A mission was used from a task that is no branch of it."""

    code = "OUTSIDE_BRANCH"


class Branch:
    """One line of execution of a run: steps within it happen one after another."""

    __slots__ = (
        "_count",
        "_inside",
        "_names",
        "_rounds",
        "owner",
        "parent",
        "path",
        "suspended",
        "unwound",
    )

    def __init__(self, path: str, parent: Branch | None) -> None:
        self.path = path
        self.parent = parent
        self.owner = asyncio.current_task()
        self.suspended: Suspended | None = None
        self.unwound: Suspended | None = None
        """The first suspension at or below here, whatever has become of its exception."""
        self._count = 0
        self._rounds = 0
        self._inside: str | None = None
        self._names: set[str] = set()

    def next_key(self) -> str:
        """The key of the next step here.

        Raises:
            Suspended: the run has been suspended here or further up; it stays so.
            OutsideBranch: this task was started without `mission.gather` or `mission.branch`.
        """
        self._check()
        key = self._checked(f"{self.path}{self._count}")
        self._count += 1
        return key

    def next_round(self) -> str:
        """The key of the next round here, of whichever loop: rounds are no steps, and do not
        count as such. Raises as `next_key`."""
        self._check()
        self._rounds += 1
        return self._checked(f"{self.path}rounds:{self._rounds}")

    def _check(self) -> None:
        """Whether something that is journaled may begin here."""
        if (suspended := self.stopped) is not None:
            raise suspended
        if self.owner is not asyncio.current_task():
            raise OutsideBranch(
                "this task is not a branch of the mission, so its steps could not be replayed;"
                " start it with mission.gather(...), or wrap its work in mission.branch('name')"
            )
        if self._inside is not None:
            raise OutsideBranch(
                f"the mission was used inside {self._inside}, whose result is journaled as a"
                " whole; do this before or after it"
            )

    def _checked(self, key: str) -> str:
        if len(key) > MAX_KEY:
            raise MissionError(f"branches are nested too deeply: '{key[:60]}...'")
        return key

    @property
    def stopped(self) -> Suspended | None:
        """Why no step may begin here any more; None while one may."""
        return next((branch.suspended for branch in self._upwards() if branch.suspended), None)

    @property
    def unwinding(self) -> Suspended | None:
        """A suspension anywhere in the run, which this line has not come to yet."""
        *_, root = self._upwards()
        return root.unwound

    def _upwards(self) -> Iterator[Branch]:
        branch: Branch | None = self
        while branch is not None:
            yield branch
            branch = branch.parent

    def suspend(self, reason: Suspended) -> Suspended:
        """Stop this line of execution for good; the caller raises what this returns."""
        for branch in self._upwards():
            if branch.owner is self.owner:
                branch.suspended = reason
            branch.unwound = branch.unwound or reason
        return reason

    def end(self) -> None:
        """The run is over: tasks that it has left behind stop, and it is kept alive by nothing."""
        self.suspended, self.unwound, self.owner = Suspended("ended"), None, None

    @contextmanager
    def inside(self, step: str) -> Iterator[None]:
        """While a step's own work runs: steps within it would not be found by a replay."""
        self._inside = step
        try:
            yield
        finally:
            self._inside = None

    def child(self, name: str) -> Branch:
        """A branch below this one, owned by the current task. Names are unique here."""
        if name in self._names:
            raise MissionError(
                f"branch '{self.path}{name}' is opened twice; give each its own name"
            )
        self._names.add(name)
        return Branch(f"{self.path}{name}/", self)


_current: ContextVar[Branch] = ContextVar("mission_branch")


def current_branch() -> Branch:
    """The branch that this code runs in, or that the task which started it ran in."""
    try:
        return _current.get()
    except LookupError:
        raise OutsideBranch("a mission may only be used by the run it was made for") from None


@contextmanager
def within(branch: Branch) -> Iterator[None]:
    """Make `branch` the current one."""
    token = _current.set(branch)
    try:
        yield
    finally:
        _current.reset(token)


async def join(branch: Branch, tasks: list[asyncio.Task[Any]]) -> list[Any]:
    """Wait for the branches below `branch`; what each gave, in order.

    All of them come to an end before anything is raised, so that a replay finds the same: a
    suspension first, then the first error in order.
    """
    try:
        if tasks:
            await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(end, Suspended) and branch.stopped is None:
                raise branch.suspend(end) from None
        raise
    errors = [None if task.cancelled() else task.exception() for task in tasks]
    for error in errors:
        if isinstance(error, Suspended):
            raise branch.suspend(error)
    for error in errors:
        if error is not None:
            raise error
    return [task.result() for task in tasks]
