"""The line under any sequence of calls, against a model that is slow and obvious."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from mission_system.core.errors import Busy
from mission_system.core.tower.process import SchedulingPriority
from mission_system.core.tower.scheduler import AGEING, Job, Scheduler

SLOTS, MAX_READY, MAX_BACKLOG = 3, 8, 3
LIMITS = {"one": 1, "two": 2, "many": 100}
LEVELS = list(SchedulingPriority)
ENOUGH = (len(LEVELS) - 1) * AGEING
"""Seconds of waiting after which nobody who comes later goes first, whatever the priorities."""
priorities = st.sampled_from(LEVELS)


@dataclass
class Expected:
    """What the model knows of a job in line."""

    job: Job
    entered: int
    held: bool = True
    running: bool = False

    @property
    def order(self) -> tuple[float, int]:
        level = LEVELS.index(self.job.priority)
        return self.job.arrived + level * AGEING, self.entered


class LineMachine(RuleBasedStateMachine):
    """Lists where the scheduler has heaps, and a search where it has bookkeeping."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(slots=SLOTS, max_ready=MAX_READY, max_backlog=MAX_BACKLOG)
        self.line: dict[str, Expected] = {}
        self.started: set[str] = set()
        self.entered = 0
        self.clock = 0.0
        self.most = 0

    # the model

    def lane(self, job: Job) -> list[Expected]:
        return [each for each in self.line.values() if each.job.lane == job.lane]

    def waiting(self) -> list[Expected]:
        return [each for each in self.line.values() if not each.running]

    def running(self, capability: str | None = None) -> int:
        return sum(
            each.running and capability in (None, each.job.capability)
            for each in self.line.values()
        )

    def is_startable(self, each: Expected) -> bool:
        capability = each.job.capability
        first = min(self.lane(each.job), key=lambda other: (not other.running, other.entered))
        return (
            first is each
            and not each.running
            and not each.held
            and self.running(capability) < LIMITS[capability]
        )

    def choose(self) -> Expected | None:
        startable = [each for each in self.line.values() if self.is_startable(each)]
        if self.running() >= SLOTS:
            return None
        return min(startable, key=lambda each: each.order, default=None)

    def start_next(self) -> Job | None:
        chosen, job = self.choose(), self.scheduler.next()
        assert job is (chosen.job if chosen else None)
        if chosen is not None:
            assert chosen.job.pid not in self.started
            self.started.add(chosen.job.pid)
            chosen.running = True
        return job

    # calls

    @rule(
        target=jobs,
        session=st.integers(0, 2 * SLOTS),
        capability=st.sampled_from(sorted(LIMITS)),
        priority=priorities,
        later=st.sampled_from([0.0, 0.5, AGEING, 5 * AGEING]),
        ago=st.sampled_from([0.0, AGEING, 200.0]),
        admitted=st.booleans(),
    )
    def enter(
        self,
        session: int,
        capability: str,
        priority: SchedulingPriority,
        later: float,
        ago: float,
        admitted: bool,
    ) -> str:
        """One admitted earlier, before a wait or a restart, may have arrived long ago."""
        self.clock += later
        pid = f"job-{self.entered}"
        arrived = self.clock - (ago if admitted else 0)
        lane = ("ann", f"session-{session}")
        job = Job(pid, lane, capability, priority, arrived, LIMITS[capability])
        backlog = [each for each in self.lane(job) if not each.running]
        if not admitted and (len(self.waiting()) >= MAX_READY or len(backlog) >= MAX_BACKLOG):
            with pytest.raises(Busy):
                self.scheduler.enter(job)
            return pid
        self.scheduler.enter(job, admitted=admitted)
        self.line[pid] = Expected(job, self.entered)
        self.entered += 1
        self.most = max(self.most, len(self.line))
        with pytest.raises(ValueError, match=pid):
            self.scheduler.enter(job, admitted=True)
        return pid

    @rule(pid=jobs)
    def release(self, pid: str) -> None:
        if pid in self.line and self.line[pid].held:
            self.scheduler.release(pid)
            self.line[pid].held = False

    @rule(pid=jobs)
    def try_at_once(self, pid: str) -> None:
        """As a submission does: a job that may not start now is held until it is stored."""
        if pid in self.line and self.line[pid].held:
            self.release(pid)
            if self.start_next() is not self.line[pid].job:
                self.line[pid].job.held = self.line[pid].held = True

    @rule()
    def next(self) -> None:
        self.start_next()

    @rule(pid=consumes(jobs))
    def leave(self, pid: str) -> None:
        self.scheduler.leave(pid)
        self.line.pop(pid, None)
        self.scheduler.leave(pid)

    @rule(pid=jobs, priority=priorities)
    def reprioritise(self, pid: str, priority: SchedulingPriority) -> None:
        in_line = pid in self.line and not self.line[pid].running
        assert self.scheduler.reprioritise(pid, priority) is in_line

    # what always holds

    @invariant()
    def counts_are_right(self) -> None:
        assert self.scheduler.running == self.running() <= SLOTS
        assert self.scheduler.ready == len(self.waiting())
        assert all(self.running(capability) <= limit for capability, limit in LIMITS.items())

    @invariant()
    def one_runs_in_a_session_and_it_is_the_first(self) -> None:
        for each in self.line.values():
            lane = self.lane(each.job)
            assert sum(other.running for other in lane) <= 1

    @invariant()
    def memory_is_bounded_by_the_jobs(self) -> None:
        assert set(self.scheduler._lanes) == {each.job.lane for each in self.line.values()}
        for heap in self.scheduler._heaps.values():
            assert len(heap) <= bound(self.most)

    def teardown(self) -> None:
        """Whatever happened: all that is left runs, in the model's order, and leaves nothing."""
        for pid in [pid for pid, each in self.line.items() if each.held]:
            self.release(pid)
        while self.line:
            while self.start_next() is not None:
                pass
            running = [pid for pid, each in self.line.items() if each.running]
            assert running, "jobs wait and nothing runs"
            self.leave(running[0])
        assert self.scheduler.next() is None
        assert self.scheduler._lanes == {}
        assert not any(self.scheduler._heaps.values())
        assert not any(self.scheduler._running.values())


def bound(jobs: int) -> int:
    """Entries a heap may hold when at most so many jobs were in line at once."""
    return 2 * jobs + 64


TestLine = LineMachine.TestCase


@given(st.lists(st.tuples(priorities, st.floats(0, AGEING), st.integers(0, 2)), max_size=40))
def test_nobody_who_has_waited_long_enough_is_passed(
    arrivals: list[tuple[SchedulingPriority, float, int]],
) -> None:
    """Jobs come one after another; after each, as many of those in line have their turn."""
    scheduler, clock = Scheduler(slots=1, max_ready=100, max_backlog=100), 0.0
    waiting: dict[str, float] = {}

    def turn() -> None:
        started = scheduler.next()
        if started is not None:
            scheduler.leave(started.pid)
            came = waiting.pop(started.pid)
            assert came <= min(waiting.values(), default=came) + ENOUGH

    for number, (priority, later, turns) in enumerate(arrivals):
        clock += later
        pid = f"job-{number}"
        scheduler.enter(Job(pid, ("ann", pid), "many", priority, clock, 100))
        scheduler.release(pid)
        waiting[pid] = clock
        for _ in range(turns):
            turn()
    while waiting:
        turn()


def occupied() -> Scheduler:
    """A line whose only slot is taken for long."""
    scheduler = Scheduler(slots=1, max_ready=100, max_backlog=100)
    scheduler.enter(job("busy", session="busy"))
    scheduler.release("busy")
    assert scheduler.next() is not None
    return scheduler


def job(pid: str, *, session: str, priority: SchedulingPriority = LEVELS[2]) -> Job:
    return Job(pid, ("ann", session), "many", priority, 0.0, 100)


def entries(scheduler: Scheduler) -> int:
    return sum(map(len, scheduler._heaps.values()))


def test_priority_changed_for_ever_costs_no_memory() -> None:
    scheduler = occupied()
    for pid in ("a", "b"):
        scheduler.enter(job(pid, session="s"))
        scheduler.release(pid)
    for n in range(5000):
        assert scheduler.reprioritise("ab"[n % 2], LEVELS[n % 5])
    assert entries(scheduler) <= bound(3)
    scheduler.leave("busy")
    assert [scheduler.next(), scheduler.next()] == [scheduler._jobs["a"], None]


def test_messages_withdrawn_for_ever_cost_no_memory() -> None:
    scheduler = occupied()
    scheduler.enter(job("first", session="s"))
    scheduler.release("first")
    for n in range(5000):
        for pid, session in ((f"behind-{n}", "s"), (f"alone-{n}", f"s{n}")):
            scheduler.enter(job(pid, session=session))
            scheduler.release(pid)
            scheduler.leave(pid)
    assert entries(scheduler) <= bound(4)
    assert len(scheduler._lanes) == 2


def test_equals_start_in_the_order_in_which_they_entered() -> None:
    scheduler = occupied()
    for pid in ("a", "b", "c"):
        scheduler.enter(job(pid, session=pid))
        scheduler.release(pid)
    scheduler.reprioritise("a", LEVELS[0])
    scheduler.reprioritise("a", LEVELS[2])
    order = []
    for leaving in ("busy", "a", "b"):
        scheduler.leave(leaving)
        started = scheduler.next()
        order.append(started.pid if started else None)
    assert order == ["a", "b", "c"]
