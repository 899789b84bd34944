"""Decides which ready process runs next. Pure and synchronous: no clock, no tasks, no storage.

Within a session processes run one after another (a lane); each capability has its own bound; and
all of them share the running slots. Order is by priority, then by arrival, and ages: a level of
priority is worth `AGEING` seconds of waiting, so idle work runs at last however busy the server.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count

from ..errors import Busy
from .process import SchedulingPriority

AGEING = 30.0
SLACK = 64  # stale entries that a heap may hold beyond twice the jobs in line
Lane = tuple[str, ...]
"""(user, session): ids of sessions are unique per user. A child has a lane of its own."""
_LEVEL = {priority: level for level, priority in enumerate(SchedulingPriority)}


@dataclass(slots=True, eq=False)
class Job:
    """A process in line. `held` until its row is committed; `arrived` is in seconds.

    `number` is the order of entry, which decides between equals."""

    pid: str
    lane: Lane
    capability: str
    priority: SchedulingPriority
    arrived: float
    limit: int
    held: bool = True
    gone: bool = False
    number: int = 0

    @property
    def rank(self) -> float:
        return self.arrived + _LEVEL[self.priority] * AGEING


@dataclass(slots=True)
class _Line:
    running: Job | None = None
    waiting: deque[Job] = field(default_factory=deque)


class Scheduler:
    """The line of one node: `enter` puts a job in, `next` starts one, `leave` frees its place."""

    def __init__(self, *, slots: int, max_ready: int, max_backlog: int) -> None:
        self._slots = slots
        self._max_ready = max_ready
        self._max_backlog = max_backlog
        self._jobs: dict[str, Job] = {}
        self._lanes: dict[Lane, _Line] = {}
        self._heaps: dict[str, list[tuple[float, int, Job]]] = {}
        self._running: dict[str, int] = {}
        self._active = 0
        self._numbers = count()

    @property
    def running(self) -> int:
        return self._active

    @property
    def ready(self) -> int:
        return len(self._jobs) - self._active

    def __contains__(self, pid: str) -> bool:
        return pid in self._jobs

    def enter(self, job: Job, *, admitted: bool = False, clears: bool = False) -> None:
        """Put a job in line. One already `admitted` earlier is never refused; one that `clears`
        its lane, by ending all that is before it there, is not refused for a full lane.

        Raises:
            Busy: the line, or the session's backlog, is full.
        """
        if job.pid in self._jobs:
            raise ValueError(f"process {job.pid} is in line already")
        lane = self._lanes.setdefault(job.lane, _Line())
        if not admitted:
            if self.ready >= self._max_ready:
                self._forget(job.lane)
                raise Busy(f"the server has {self.ready} requests in line; try again later", 5.0)
            if len(lane.waiting) >= self._max_backlog and not clears:
                raise Busy(
                    f"this session has {len(lane.waiting)} messages waiting;"
                    " wait for an answer before sending more",
                    2.0,
                )
        job.number = next(self._numbers)
        self._jobs[job.pid] = job
        lane.waiting.append(job)
        self._offer(lane)

    def release(self, pid: str) -> None:
        """The job's row is committed: it may run."""
        job = self._jobs[pid]
        job.held = False
        self._offer(self._lanes[job.lane])

    def next(self) -> Job | None:
        """The job to start now, its slot and lane taken; None when nothing can start."""
        if self._active >= self._slots:
            return None
        best: list[tuple[float, int, Job]] | None = None
        for capability, heap in self._heaps.items():
            while heap and not self._is_startable(heap[0]):
                heapq.heappop(heap)
            if not heap or self._running.get(capability, 0) >= heap[0][2].limit:
                continue
            if best is None or heap[0] < best[0]:
                best = heap
        if best is None:
            return None
        job = heapq.heappop(best)[2]
        lane = self._lanes[job.lane]
        lane.waiting.popleft()
        lane.running = job
        self._active += 1
        self._running[job.capability] = self._running.get(job.capability, 0) + 1
        return job

    def leave(self, pid: str) -> None:
        """The job has ended, waits for something, or was withdrawn. Unknown pids are ignored."""
        job = self._jobs.pop(pid, None)
        if job is None:
            return
        job.gone = True
        lane = self._lanes[job.lane]
        if lane.running is job:
            lane.running = None
            self._active -= 1
            self._running[job.capability] -= 1
        else:
            lane.waiting.remove(job)
        self._offer(lane)
        self._forget(job.lane)

    def reprioritise(self, pid: str, priority: SchedulingPriority) -> bool:
        """Change the priority of a job in line; False when it is not (or no longer) in line.

        One that runs keeps it for the time when it comes back in line.
        """
        job = self._jobs.get(pid)
        if job is None:
            return False
        job.priority = priority
        if self._lanes[job.lane].running is job:
            return False
        self._offer(self._lanes[job.lane])
        return True

    def _offer(self, lane: _Line) -> None:
        """Put the lane's head on its heap.

        What lies there already, stale by now or twice, is skipped when its turn comes; it is swept
        out before that where there is much of it.
        """
        if lane.running is None and lane.waiting and not lane.waiting[0].held:
            job = lane.waiting[0]
            heap = self._heaps.setdefault(job.capability, [])
            heapq.heappush(heap, (job.rank, job.number, job))
            if len(heap) > 2 * len(self._jobs) + SLACK:
                heap[:] = set(filter(self._is_startable, heap))
                heapq.heapify(heap)

    def _is_startable(self, entry: tuple[float, int, Job]) -> bool:
        rank, _, job = entry
        lane = self._lanes.get(job.lane)
        return (
            not job.gone
            and not job.held
            and rank == job.rank
            and lane is not None
            and lane.running is None
            and bool(lane.waiting)
            and lane.waiting[0] is job
        )

    def _forget(self, lane: Lane) -> None:
        entry = self._lanes.get(lane)
        if entry and entry.running is None and not entry.waiting:
            del self._lanes[lane]
