"""The line: priorities that age, one at a time in a session, bounds that hold."""

from __future__ import annotations

import pytest

from mission_system.core.errors import Busy
from mission_system.core.tower.process import SchedulingPriority as P
from mission_system.core.tower.scheduler import AGEING, Job, Scheduler


def job(pid: str, *, session: str | None = None, arrived: float = 0, **kind: object) -> Job:
    defaults: dict[str, object] = {"capability": "c", "priority": P.NORMAL, "limit": 100}
    return Job(pid, ("ann", session or pid), arrived=arrived, **defaults | kind)  # type: ignore[arg-type]


def line(**bounds: int) -> Scheduler:
    return Scheduler(**{"slots": 100, "max_ready": 100, "max_backlog": 10} | bounds)


def enter(scheduler: Scheduler, *jobs: Job) -> None:
    for each in jobs:
        scheduler.enter(each)
        scheduler.release(each.pid)


def started(scheduler: Scheduler) -> list[str]:
    pids = []
    while (found := scheduler.next()) is not None:
        pids.append(found.pid)
    return pids


def test_higher_priority_goes_first_and_equals_go_by_arrival() -> None:
    scheduler = line()
    enter(
        scheduler,
        job("n1", arrived=0),
        job("idle", priority=P.IDLE, arrived=0),
        job("n2", arrived=1),
        job("now", priority=P.REALTIME, arrived=2),
        job("high", priority=P.HIGH, arrived=2),
    )
    assert started(scheduler) == ["now", "high", "n1", "n2", "idle"]


def test_idle_work_is_not_starved_by_what_comes_later() -> None:
    scheduler = line()
    late = 4 * AGEING + 1
    enter(scheduler, job("idle", priority=P.IDLE), job("now", priority=P.REALTIME, arrived=late))
    assert started(scheduler) == ["idle", "now"]


def test_session_runs_one_at_a_time_in_order() -> None:
    scheduler = line()
    enter(scheduler, *(job(f"s{n}", session="s", arrived=n) for n in range(3)), job("other"))
    assert started(scheduler) == ["s0", "other"]
    scheduler.leave("s0")
    assert started(scheduler) == ["s1"]
    scheduler.leave("s1")
    assert started(scheduler) == ["s2"]


def test_running_slots_bound_everything() -> None:
    scheduler = line(slots=2)
    enter(scheduler, job("a"), job("b"), job("c"))
    assert started(scheduler) == ["a", "b"]
    assert (scheduler.running, scheduler.ready) == (2, 1)
    scheduler.leave("b")
    assert started(scheduler) == ["c"]


def test_full_capability_does_not_hold_up_another() -> None:
    scheduler = line()
    enter(
        scheduler,
        job("x1", capability="x", limit=1),
        job("x2", capability="x", limit=1, priority=P.REALTIME),
        job("y", capability="y", priority=P.IDLE),
    )
    assert started(scheduler) == ["x2", "y"]
    scheduler.leave("x2")
    assert started(scheduler) == ["x1"]


def test_job_whose_row_is_not_committed_does_not_start() -> None:
    scheduler = line()
    scheduler.enter(job("a", session="s"))
    assert started(scheduler) == []
    scheduler.release("a")
    assert started(scheduler) == ["a"]


def test_withdrawn_job_frees_its_place_in_the_session() -> None:
    scheduler = line()
    enter(scheduler, job("a", session="s"), job("b", session="s"), job("c", session="s"))
    scheduler.leave("a")
    scheduler.leave("c")
    assert started(scheduler) == ["b"]
    scheduler.leave("b")
    assert (scheduler.running, scheduler.ready) == (0, 0)


def test_full_line_and_full_session_are_refused_with_a_time_to_retry() -> None:
    scheduler = line(max_ready=3, max_backlog=2)
    enter(scheduler, job("a", session="s"), job("b", session="s"))
    with pytest.raises(Busy) as session_full:
        scheduler.enter(job("c", session="s"))
    enter(scheduler, job("d"))
    with pytest.raises(Busy) as line_full:
        scheduler.enter(job("e"))
    assert session_full.value.retry_after > 0
    assert line_full.value.retry_after > 0
    assert scheduler.ready == 3


def test_process_admitted_before_is_never_refused() -> None:
    scheduler = line(max_ready=1)
    enter(scheduler, job("a"))
    scheduler.enter(job("b"), admitted=True)
    assert scheduler.ready == 2


def test_priority_of_a_waiting_job_can_be_raised_and_lowered() -> None:
    scheduler = line()
    enter(scheduler, job("a"), job("b", arrived=1), job("c", arrived=2))
    assert scheduler.reprioritise("c", P.REALTIME)
    assert scheduler.reprioritise("a", P.IDLE)
    assert started(scheduler) == ["c", "b", "a"]
    assert not scheduler.reprioritise("a", P.HIGH)
    assert not scheduler.reprioritise("nobody", P.HIGH)
