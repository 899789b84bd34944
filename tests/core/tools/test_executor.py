from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Any, cast

import pytest
from pydantic import BaseModel, Field
from structlog.testing import capture_logs

from mission_system.core.errors import Busy, Conflict, MissionError
from mission_system.core.tools import executor as executor_module
from mission_system.core.tools.arguments import Arguments
from mission_system.core.tools.call import idempotency_key
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tools.decorator import tool
from mission_system.core.tools.executor import CatalogExecutor, Recorder
from mission_system.core.tools.spec import (
    ToolExecutor,
    ToolRegistry,
    ToolResult,
    ToolSpec,
    ToolStatus,
)
from mission_system.core.tools.threads import ThreadPool


@pytest.fixture
def threads() -> Iterator[ThreadPool]:
    pool = ThreadPool(2)
    yield pool
    pool.close()


def executor_of(
    threads: ThreadPool, *specs: ToolSpec, recorder: Recorder | None = None
) -> CatalogExecutor:
    return CatalogExecutor(ToolCatalog(specs), threads, recorder=recorder)


async def run(threads: ThreadPool, spec: ToolSpec, **arguments: Any) -> ToolResult:
    return await executor_of(threads, spec).execute(spec.name, arguments)


def raising(error: BaseException, *, sync: bool) -> ToolSpec:
    @tool(name="broken")
    def broken() -> None:
        """Raise."""
        raise error

    @tool(name="broken")
    async def async_broken() -> None:
        """Raise."""
        raise error

    return broken if sync else async_broken


both = pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])


class Place(BaseModel):
    city: str


async def test_an_async_tool_runs_on_the_event_loop(threads: ThreadPool) -> None:
    @tool
    async def where() -> threading.Thread:
        """Tell the thread."""
        return threading.current_thread()

    executor: ToolExecutor = executor_of(threads, where)
    assert isinstance(executor, ToolExecutor)
    result = await executor.execute("where", {})
    assert (result.tool, result.status, result.error) == ("where", ToolStatus.SUCCESS, None)
    assert result.value is threading.current_thread()


async def test_a_sync_tool_runs_in_a_thread_of_the_pool(threads: ThreadPool) -> None:
    @tool
    def where() -> str:
        """Tell the thread."""
        return threading.current_thread().name

    assert (await run(threads, where)).value == "mission-sync"


async def test_a_sync_tool_that_returns_a_coroutine_is_awaited(threads: ThreadPool) -> None:
    async def later() -> int:
        return 7

    def wrapped() -> Any:
        return later()

    spec = tool(name="wrapped", description="Seven.")(wrapped)
    assert (await run(threads, spec)).value == 7


async def test_arguments_reach_the_function_converted_with_defaults(threads: ThreadPool) -> None:
    @tool
    async def visit(place: Place, days: int = 2) -> str:
        """Visit."""
        return f"{place.city} {days + 1}"

    assert (await run(threads, visit, place={"city": "Oslo"})).value == "Oslo 3"
    assert (await run(threads, visit, place={"city": "Oslo"}, days="5")).value == "Oslo 6"


async def test_duration_is_the_seconds_the_call_took(threads: ThreadPool) -> None:
    @tool
    async def nap() -> None:
        """Sleep."""
        await asyncio.sleep(0.05)

    assert 0.04 < (await run(threads, nap)).duration < 5


async def test_an_unknown_tool_is_not_found_with_bounded_choices(threads: ThreadPool) -> None:
    specs = [tool(name=f"tool_{n:02}", description="Nothing.")(lambda: None) for n in range(25)]
    result = await executor_of(threads, *specs).execute("x" * 10_000, {})
    assert result.status is ToolStatus.NOT_FOUND
    assert result.error is not None
    assert result.error.startswith("no such tool: xxx")
    assert result.error.endswith("tool_18, tool_19 and 5 more")
    assert len(result.error) < 500


async def test_invalid_arguments_are_refused_before_the_function_runs(threads: ThreadPool) -> None:
    called: list[str] = []

    @tool
    async def search(query: Annotated[str, Field(max_length=10)]) -> None:
        """Search."""
        called.append(query)

    result = await run(threads, search, query="q" * 10_000)
    assert result.status is ToolStatus.INVALID_ARGUMENTS
    assert result.error == "query: String should have at most 10 characters"
    result = await run(threads, search, query="q", **{"z" * 10_000: "w" * 10_000})
    assert result.status is ToolStatus.INVALID_ARGUMENTS
    assert len(result.error or "") <= 200
    assert called == []


async def test_a_validator_is_built_once_per_tool(
    threads: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[object] = []

    def build(function: Any) -> Arguments:
        built.append(function)
        return Arguments(function)

    @tool
    async def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    monkeypatch.setattr(executor_module, "Arguments", build)
    executor = executor_of(threads, add)
    for n in range(5):
        assert (await executor.execute("add", {"a": n, "b": 1})).value == n + 1
    assert built == [add.function]


async def test_a_late_async_tool_is_stopped(threads: ThreadPool) -> None:
    stopped = asyncio.Event()

    @tool(timeout=0.05)
    async def hang() -> None:
        """Hang."""
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    result = await run(threads, hang)
    assert (result.status, result.error) == (ToolStatus.TIMEOUT, "no answer within 0.05 s")
    assert stopped.is_set()


async def test_a_late_tool_that_fails_while_being_stopped_is_still_a_timeout(
    threads: ThreadPool,
) -> None:
    @tool(timeout=0.05)
    async def hang() -> None:
        """Hang."""
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("cleanup failed")

    assert (await run(threads, hang)).status is ToolStatus.TIMEOUT


async def test_a_late_sync_tool_times_out_and_is_abandoned(
    threads: ThreadPool, leap: Callable[[float], None]
) -> None:
    loop = asyncio.get_running_loop()
    running, release = asyncio.Event(), threading.Event()

    @tool(timeout=1000)
    def hang() -> None:
        """Hang."""
        loop.call_soon_threadsafe(running.set)
        release.wait(100)

    call = asyncio.create_task(run(threads, hang))
    await running.wait()
    leap(1000)
    assert (await call).status is ToolStatus.TIMEOUT
    assert threads.abandoned == 1
    release.set()


@both
async def test_a_tools_own_timeout_error_is_an_error(threads: ThreadPool, sync: bool) -> None:
    result = await run(threads, raising(TimeoutError("printer"), sync=sync))
    assert (result.status, result.error) == (ToolStatus.ERROR, "TimeoutError: printer")


@both
async def test_the_text_of_a_mission_error_is_shown(threads: ThreadPool, sync: bool) -> None:
    with capture_logs() as logs:
        result = await run(threads, raising(Conflict("already sent"), sync=sync))
    assert (result.status, result.error) == (ToolStatus.ERROR, "already sent")
    assert logs == []


@both
async def test_another_error_is_shown_short_and_logged_in_full(
    threads: ThreadPool, sync: bool
) -> None:
    with capture_logs() as logs:
        result = await run(threads, raising(KeyError("k" * 1000), sync=sync))
    assert result.status is ToolStatus.ERROR
    assert result.error == ("KeyError: '" + "k" * 1000)[:500]
    assert result.value is None
    (entry,) = logs
    assert (entry["event"], entry["tool"], entry["log_level"]) == ("tool.failed", "broken", "error")
    assert entry["exc_info"] is True


@both
async def test_an_error_whose_text_cannot_be_made_is_still_a_result(
    threads: ThreadPool, sync: bool
) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    class MuteMission(MissionError):
        def __init__(self) -> None:
            pass

        def __str__(self) -> str:
            raise ValueError

    result = await run(threads, raising(Mute(), sync=sync))
    assert result.error == "Mute: (its text cannot be made: ValueError)"
    result = await run(threads, raising(MuteMission(), sync=sync))
    assert result.error == "(its text cannot be made: ValueError)"


@both
async def test_a_tool_that_exits_does_not_stop_the_server(threads: ThreadPool, sync: bool) -> None:
    result = await run(threads, raising(SystemExit(2), sync=sync))
    assert result.status is ToolStatus.ERROR
    assert "SystemExit" in (result.error or "")


async def test_no_free_thread_in_time_is_busy(threads: ThreadPool) -> None:
    full = threading.Barrier(threads.size + 1, timeout=10)
    release = threading.Event()

    def block() -> None:
        full.wait()
        release.wait(10)

    @tool(timeout=0.05)
    def quick() -> None:
        """Return."""

    blocked = [asyncio.create_task(threads.run(block, timeout=10)) for _ in range(threads.size)]
    await asyncio.to_thread(full.wait)
    result = await run(threads, quick)
    assert result.status is ToolStatus.BUSY
    assert "threads" in (result.error or "")
    release.set()
    await asyncio.gather(*blocked)


async def test_a_tools_own_busy_is_busy(threads: ThreadPool) -> None:
    result = await run(threads, raising(Busy("printer is printing"), sync=False))
    assert (result.status, result.error) == (ToolStatus.BUSY, "printer is printing")


async def test_cancelling_propagates_at_once_and_leaves_nothing(threads: ThreadPool) -> None:
    running = asyncio.Event()
    stopped = asyncio.Event()
    recorded: list[ToolResult] = []

    @tool
    async def hang() -> None:
        """Hang."""
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def record(result: ToolResult) -> None:
        recorded.append(result)

    before = asyncio.all_tasks()
    call = asyncio.create_task(executor_of(threads, hang, recorder=record).execute("hang", {}))
    await running.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert stopped.is_set()
    assert asyncio.all_tasks() == before
    assert recorded == []


async def test_a_timeout_around_the_call_is_not_mistaken_for_the_tools(threads: ThreadPool) -> None:
    @tool
    async def hang() -> None:
        """Hang."""
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await run(threads, hang)


async def test_a_tool_that_awaits_something_cancelled_is_cancelled_not_its_caller(
    threads: ThreadPool,
) -> None:
    @tool
    async def follow() -> None:
        """Await a cancelled future."""
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    result = await run(threads, follow)
    assert result.status is ToolStatus.CANCELLED
    assert "cancelled" in (result.error or "")


async def test_the_idempotency_key_is_seen_by_the_function_only(threads: ThreadPool) -> None:
    @tool
    def sync_key() -> str | None:
        """The key."""
        return idempotency_key()

    @tool
    async def async_key() -> str | None:
        """The key."""
        return idempotency_key()

    executor = executor_of(threads, sync_key, async_key)
    for name in ("sync_key", "async_key"):
        assert (await executor.execute(name, {}, idempotency_key="p1/3")).value == "p1/3"
        assert (await executor.execute(name, {})).value is None
    assert idempotency_key() is None


class HandMadeRegistry:
    """A caller's own registry, which makes its specs on demand."""

    def get(self, name: str) -> ToolSpec | None:
        return self.spec() if name == "shout" else None

    def spec(self) -> ToolSpec:
        return ToolSpec("shout", "Shout.", self.shout, {"type": "object"}, str)

    async def shout(self, text: str, **options: Any) -> str:
        return text.upper() + str(options)

    def __iter__(self) -> Iterator[ToolSpec]:
        yield self.spec()


async def test_a_callers_own_registry_and_specs_work(
    threads: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry: ToolRegistry = HandMadeRegistry()
    executor = CatalogExecutor(registry, threads)
    assert (await executor.execute("shout", {"text": "a", "loud": 1})).value == "A{'loud': 1}"
    assert (await executor.execute("shout", {"loud": 1})).error == "text: is required"
    assert (
        await executor.execute("whisper", {})
    ).error == "no such tool: whisper; there are: shout"
    monkeypatch.delattr(executor_module, "Arguments")  # a second validator cannot be built
    assert (await executor.execute("shout", {"text": "b"})).value == "B{}"


async def test_a_replaced_tool_gets_a_validator_of_its_own(threads: ThreadPool) -> None:
    class Changing(ToolCatalog):
        current: ToolSpec

        def get(self, name: str) -> ToolSpec | None:
            return self.current

    first = tool(name="change", description="First.")(_first)
    second = tool(name="change", description="Second.")(_second)
    registry = Changing()
    executor = CatalogExecutor(registry, threads)
    registry.current = first
    assert (await executor.execute("change", {"a": "1"})).value == 1
    registry.current = second
    assert (await executor.execute("change", {"b": "x"})).value == "x"


async def _first(a: int) -> int:
    return a


async def _second(b: str) -> str:
    return b


async def test_a_hand_made_spec_that_cannot_be_called_by_name_is_an_error(
    threads: ThreadPool,
) -> None:
    async def bare(text: str, /) -> str:
        return text

    spec = ToolSpec("bare", "Bare.", bare, {"type": "object"}, str)
    with capture_logs() as logs:
        result = await run(threads, spec, text="a")
    assert result.status is ToolStatus.ERROR
    assert "'text' is positional-only" in (result.error or "")
    assert [entry["event"] for entry in logs] == ["tool.failed"]


async def test_every_result_is_recorded(threads: ThreadPool) -> None:
    recorded: list[ToolResult] = []

    async def record(result: ToolResult) -> None:
        recorded.append(result)

    executor = executor_of(threads, raising(OSError("disk"), sync=False), recorder=record)
    returned = [
        await executor.execute("broken", {}),
        await executor.execute("broken", {"x": 1}),
        await executor.execute("nothing", {}),
    ]
    assert recorded == returned
    assert [result.status for result in recorded] == ["error", "invalid_arguments", "not_found"]


@pytest.mark.parametrize("error", [OSError("disk full"), asyncio.CancelledError()])
async def test_a_failing_recorder_is_logged_and_the_result_stands(
    threads: ThreadPool, error: BaseException
) -> None:
    async def record(result: ToolResult) -> None:
        raise error

    spec = tool(name="one", description="One.")(lambda: 1)
    with capture_logs() as logs:
        result = await executor_of(threads, spec, recorder=record).execute("one", {})
    assert (result.status, result.value) == (ToolStatus.SUCCESS, 1)
    (entry,) = logs
    assert (entry["event"], entry["tool"], entry["log_level"]) == (
        "tool.not_recorded",
        "one",
        "error",
    )


async def test_a_hanging_recorder_is_given_up(
    threads: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def record(result: ToolResult) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(executor_module, "RECORD_SECONDS", 0.05)
    spec = tool(name="one", description="One.")(lambda: 1)
    with capture_logs() as logs:
        result = await executor_of(threads, spec, recorder=record).execute("one", {})
    assert result.value == 1
    assert [entry["event"] for entry in logs] == ["tool.not_recorded"]


async def test_cancelling_while_recording_propagates(threads: ThreadPool) -> None:
    recording = asyncio.Event()

    async def record(result: ToolResult) -> None:
        recording.set()
        await asyncio.Event().wait()

    spec = tool(name="one", description="One.")(lambda: 1)
    call = asyncio.create_task(executor_of(threads, spec, recorder=record).execute("one", {}))
    await recording.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


def test_a_spec_made_by_hand_is_checked_like_a_decorated_one() -> None:
    with pytest.raises(ValueError, match="'Bad Name'"):
        ToolSpec("Bad Name", "Doc.", _first, {}, int)
    with pytest.raises(ValueError, match="timeout"):
        ToolSpec("good", "Doc.", _first, {}, int, timeout=0)
    with pytest.raises(ValueError, match="read_only, write, destructive"):
        ToolSpec("good", "Doc.", _first, {}, int, risk=cast(Any, "none"))
