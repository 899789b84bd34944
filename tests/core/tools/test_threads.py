from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from mission_system.core.errors import Busy, Unavailable
from mission_system.core.tools.threads import Overrun, ThreadPool

PATIENCE = 10.0
"""Seconds before a test that would hang fails."""


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets blocked functions return, at the latest when the test is over."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def make_pool() -> Iterator[Callable[[int], ThreadPool]]:
    pools: list[ThreadPool] = []

    def make(size: int) -> ThreadPool:
        pools.append(ThreadPool(size))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


class Blocker:
    """A function that tells when it is running and returns when released."""

    def __init__(self, release: threading.Event) -> None:
        self.running = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.release = release

    def __call__(self) -> str:
        self.loop.call_soon_threadsafe(self.running.set)
        self.release.wait(PATIENCE)
        return "released"


async def all_threads_free(pool: ThreadPool) -> None:
    """Returns when `size` calls have met in `size` threads: nothing else can be running then."""
    meeting = threading.Barrier(pool.size, timeout=PATIENCE)
    await asyncio.gather(*(pool.run(meeting.wait, timeout=PATIENCE) for _ in range(pool.size)))


def test_a_pool_without_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one thread"):
        ThreadPool(0)


async def test_run_returns_the_value_from_another_thread(
    make_pool: Callable[[int], ThreadPool],
) -> None:
    def where(offset: int, base: int) -> tuple[int, threading.Thread]:
        return offset + base, threading.current_thread()

    value, thread = await make_pool(1).run(where, 2, 40, timeout=PATIENCE)
    assert value == 42
    assert thread is not threading.current_thread()
    assert thread.daemon


async def test_context_variables_are_seen_and_not_changed_outside(
    make_pool: Callable[[int], ThreadPool],
) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    def change() -> str:
        seen = variable.get()
        variable.set("changed in the thread")
        return seen

    variable.set("caller's")
    pool = make_pool(1)
    assert await pool.run(change, timeout=PATIENCE) == "caller's"
    assert await pool.run(change, timeout=PATIENCE) == "caller's"
    assert variable.get() == "caller's"


async def test_an_error_is_raised_as_it_is(make_pool: Callable[[int], ThreadPool]) -> None:
    error = KeyError("mine")

    def fail() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        await make_pool(1).run(fail, timeout=PATIENCE)
    assert caught.value is error


@pytest.mark.parametrize(
    "error", [StopIteration("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()]
)
async def test_what_would_stop_the_loop_is_raised_as_a_runtime_error(
    make_pool: Callable[[int], ThreadPool], error: BaseException
) -> None:
    def fail() -> None:
        raise error

    pool = make_pool(1)
    with pytest.raises(RuntimeError) as caught:
        await pool.run(fail, timeout=PATIENCE)
    assert caught.value.__cause__ is error
    assert await pool.run(str, timeout=PATIENCE) == ""


async def test_a_timeout_error_of_the_function_is_not_an_overrun(
    make_pool: Callable[[int], ThreadPool],
) -> None:
    def fail() -> None:
        raise TimeoutError("the printer did not answer")

    with pytest.raises(TimeoutError, match="printer") as caught:
        await make_pool(1).run(fail, timeout=PATIENCE)
    assert not isinstance(caught.value, Overrun)


async def test_an_overrun_call_is_abandoned_until_its_thread_ends(
    make_pool: Callable[[int], ThreadPool], release: threading.Event, leap: Callable[[float], None]
) -> None:
    pool = make_pool(1)
    blocker = Blocker(release)
    call = asyncio.create_task(pool.run(blocker, timeout=1000))
    await blocker.running.wait()
    leap(1000)
    with pytest.raises(Overrun, match="after 1000 s"):
        await call
    assert (pool.abandoned, pool.busy) == (1, 1)
    release.set()
    await all_threads_free(pool)
    assert (pool.abandoned, pool.busy) == (0, 0)


async def test_a_cancelled_call_returns_at_once_and_is_abandoned(
    make_pool: Callable[[int], ThreadPool], release: threading.Event
) -> None:
    pool = make_pool(1)
    blocker = Blocker(release)
    call = asyncio.create_task(pool.run(blocker, timeout=PATIENCE))
    await blocker.running.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not release.is_set()
    assert pool.abandoned == 1


async def test_threads_stay_bounded_under_200_cancelled_calls(
    make_pool: Callable[[int], ThreadPool], release: threading.Event
) -> None:
    pool = make_pool(4)
    before = set(threading.enumerate())
    started: list[int] = []
    four_running = asyncio.Event()
    loop = asyncio.get_running_loop()

    def block(number: int) -> None:
        started.append(number)
        if len(started) == 4:
            loop.call_soon_threadsafe(four_running.set)
        release.wait(PATIENCE)

    calls = [asyncio.create_task(pool.run(block, n, timeout=PATIENCE)) for n in range(200)]
    await four_running.wait()
    assert len(set(threading.enumerate()) - before) == 4
    for call in calls:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert (pool.abandoned, pool.busy) == (4, 4)

    release.set()
    await all_threads_free(pool)
    assert (pool.abandoned, pool.busy) == (0, 0)
    assert len(set(threading.enumerate()) - before) == 4
    assert sorted(started) == [0, 1, 2, 3]


async def test_a_call_waits_in_line_for_a_free_thread(
    make_pool: Callable[[int], ThreadPool], release: threading.Event
) -> None:
    pool = make_pool(1)
    blocker = Blocker(release)
    first = asyncio.create_task(pool.run(blocker, timeout=PATIENCE))
    await blocker.running.wait()
    second = asyncio.create_task(pool.run(lambda: "second", timeout=PATIENCE))
    await asyncio.sleep(0)
    release.set()
    assert await first == "released"
    assert await second == "second"


async def test_a_call_that_gets_no_thread_in_time_is_busy_and_never_starts(
    make_pool: Callable[[int], ThreadPool], release: threading.Event
) -> None:
    pool = make_pool(1)
    blocker = Blocker(release)
    first = asyncio.create_task(pool.run(blocker, timeout=PATIENCE))
    await blocker.running.wait()
    started: list[str] = []
    with pytest.raises(Busy, match="MISSION_TOOL_THREADS"):
        await pool.run(started.append, "late", timeout=0.05)
    assert pool.abandoned == 0
    release.set()
    await first
    await all_threads_free(pool)
    assert started == []


async def test_the_wait_for_a_thread_counts_as_time(
    make_pool: Callable[[int], ThreadPool], release: threading.Event, leap: Callable[[float], None]
) -> None:
    pool = make_pool(1)
    first, second = Blocker(threading.Event()), Blocker(release)
    running = asyncio.create_task(pool.run(first, timeout=None))
    await first.running.wait()
    late = asyncio.create_task(pool.run(second, timeout=1000))
    await asyncio.sleep(0)  # it is in line
    leap(600)
    first.release.set()
    await running
    await second.running.wait()
    leap(600)
    with pytest.raises(Overrun):
        await asyncio.wait_for(late, PATIENCE)


async def test_no_work_starts_after_its_caller_was_cancelled(
    make_pool: Callable[[int], ThreadPool],
) -> None:
    """Cancels around the moment when a thread takes the call; either may win, never both."""
    pool = make_pool(2)
    gone: set[int] = set()
    late: list[int] = []

    def check(number: int) -> None:
        if number in gone:
            late.append(number)

    for number in range(300):
        call = asyncio.create_task(pool.run(check, number, timeout=PATIENCE))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        gone.add(number)
    await all_threads_free(pool)
    assert late == []
    assert (pool.abandoned, pool.busy) == (0, 0)


async def test_closing_refuses_new_calls_and_wakes_those_in_line(
    make_pool: Callable[[int], ThreadPool], release: threading.Event
) -> None:
    pool = make_pool(1)
    blocker = Blocker(release)
    running = asyncio.create_task(pool.run(blocker, timeout=PATIENCE))
    await blocker.running.wait()
    in_line = [asyncio.create_task(pool.run(str, timeout=PATIENCE)) for _ in range(3)]
    await asyncio.sleep(0)
    pool.close()
    pool.close()
    async with asyncio.timeout(PATIENCE / 2):
        results = await asyncio.gather(*in_line, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    with pytest.raises(Unavailable, match="shutting down"):
        await pool.run(str, timeout=PATIENCE)
    release.set()
    assert await running == "released"


async def test_closing_ends_the_threads(make_pool: Callable[[int], ThreadPool]) -> None:
    pool = make_pool(3)
    threads = [await pool.run(threading.current_thread, timeout=PATIENCE) for _ in range(3)]
    pool.close()
    for thread in threads:
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive()


def test_a_thread_that_outlives_its_event_loop_ends_quietly(
    make_pool: Callable[[int], ThreadPool],
    release: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    pool = make_pool(1)
    threads: list[threading.Thread] = []

    async def leave_one_running() -> None:
        blocker = Blocker(release)

        def block() -> None:
            threads.append(threading.current_thread())
            blocker()

        call = asyncio.create_task(pool.run(block, timeout=PATIENCE))
        await blocker.running.wait()
        call.cancel()
        await asyncio.wait([call])

    asyncio.run(leave_one_running())
    pool.close()
    release.set()
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()
    assert failures == []


def test_a_call_that_never_returns_does_not_keep_the_process_alive() -> None:
    program = """
import asyncio, time
from mission_system.core.tools.threads import Overrun, ThreadPool
async def main():
    pool = ThreadPool(1)
    try:
        await pool.run(time.sleep, 3600, timeout=0.5)
    except Overrun:
        print("overrun", pool.abandoned)
    pool.close()
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "overrun 1\n", "")
