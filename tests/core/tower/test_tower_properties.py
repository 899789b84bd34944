"""A tower under any mixture of requests, answers, cancellations, restarts and crashes, at once."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mission_system.core.capabilities import CapabilityRegistry, OnBusy, OrchestratorSpec
from mission_system.core.errors import Busy, Conflict, MissionError, Unavailable
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.storage.persistence import Unit
from mission_system.core.storage.sqlite.database import SqliteDatabase
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tower import execution
from mission_system.core.tower.lifecycle import TRANSITIONS
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope, ProcessState, SchedulingPriority

ANN = Caller("ann")
T = TypeVar("T")
FILE = "mission.sqlite3"
SLOTS, LIMIT = 3, 2
ENDINGS = ("process.completed", "process.failed", "process.cancelled")
STRAIGHT = ("echo", "steps", "stream", "slow")
"""What needs nobody, and so replies in the order in which it was asked."""


@dataclass(frozen=True)
class Submit:
    """`gone`: the sender leaves after so many turns of the event loop."""

    session: int
    kind: str
    priority: SchedulingPriority
    capability: str
    request_id: int | None = None
    gone: int | None = None
    on_busy: OnBusy | None = None


@dataclass(frozen=True)
class Answer:
    """Answers a question that is open, `times` at once."""

    which: int
    times: int
    gone: int | None = None


@dataclass(frozen=True)
class Cancel:
    which: int
    gone: int | None = None


@dataclass(frozen=True)
class Prioritise:
    which: int
    priority: SchedulingPriority
    gone: int | None = None


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Restart:
    """In good order, or by a crash: the next server finds what was committed until then."""

    crash: bool


@dataclass(frozen=True)
class Fail:
    """The storage refuses some of what is to be written: `True` each time."""

    pattern: tuple[bool, ...]


Action = Submit | Answer | Cancel | Prioritise | Pause | Restart | Fail

turns = st.none() | st.integers(0, 12)
submits = st.builds(
    Submit,
    st.integers(0, SLOTS + 2),
    st.sampled_from([*STRAIGHT, "ask", "both", "fail", "hang"]),
    st.sampled_from(SchedulingPriority),
    st.sampled_from(["a", "b"]),
    st.none() | st.integers(0, 3),
    turns,
    st.sampled_from([None, None, None, "queue", "reject", "cancel_previous"]),
)
answers = st.builds(Answer, st.integers(0, 5), st.integers(1, 3), turns)
actions = st.lists(
    st.one_of(
        submits,
        submits,
        answers,
        st.builds(Cancel, st.integers(0, 9), turns),
        st.builds(Pause, st.sampled_from([0, 0, 0.002, 0.02])),
        st.builds(Prioritise, st.integers(0, 9), st.sampled_from(SchedulingPriority), turns),
        st.builds(Restart, st.booleans()),
        st.builds(Fail, st.lists(st.booleans(), max_size=4).map(tuple)),
    ),
    min_size=1,
    max_size=25,
)


CROWD = [Submit(n, "hang", SchedulingPriority.NORMAL, "ab"[n % 2]) for n in range(2 * LIMIT)]
"""More than there are slots, and none too many for its capability."""


@dataclass
class World:
    """What the callers and the orchestrators have seen."""

    accepted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    answered: Counter[str] = field(default_factory=Counter)
    running: Counter[str] = field(default_factory=Counter)
    crowded: list[str] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    failed: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def orchestrate(self, mission: Mission) -> str:
        where = mission.capability
        self.running[where] += 1
        if self.running[where] > LIMIT or self.running.total() > SLOTS:
            self.crowded.append(mission.message)
        try:
            return await self.play(mission)
        finally:
            self.running[where] -= 1

    async def play(self, mission: Mission) -> str:
        kind, _, number = mission.message.partition(" ")

        async def step(name: str) -> str:
            return await mission.step(name, self.effect, f"{name} {number}")

        match kind:
            case "steps":
                async with mission.stage("work"):
                    return await step("first") + await step("second")
            case "stream":
                return (await mission.llm().stream(number)).text
            case "slow":
                await mission.step("wait", asyncio.sleep, 0.01)
            case "hang":
                await mission.step("hang", self.over.wait)
            case "ask":
                return await mission.clarify(f"what {number}?")
            case "both":
                return " ".join(
                    await mission.gather(
                        mission.clarify(f"left {number}?"),
                        step("middle"),
                        mission.clarify(f"right {number}?"),
                    )
                )
            case "fail":
                raise MissionError("as it should")
        return f"done {number}"

    async def effect(self, name: str) -> str:
        self.effects[name] += 1
        await asyncio.sleep(0)
        return name


class Brittle(SqliteDatabase):
    """Storage that fails when it is told to."""

    failing: Iterator[bool] = iter(())
    failed = False

    async def write(self, unit: Unit[T]) -> T:
        if next(self.failing, False):
            self.failed = True
            raise OSError("no space left on device")
        return await super().write(unit)


class Bench:
    """A folder, the node that serves it, and the callers' tasks."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder = folder
        self.world = world
        self.calls: list[asyncio.Task[None]] = []
        self.sent = 0
        self.lives = 0

    async def start(self) -> None:
        settings = Settings(
            data=self.folder,
            shutdown_seconds=0,
            max_restarts=1000,
            running_slots=SLOTS,
            max_ready=8,
            max_backlog=4,
        )
        self.storage = Brittle(self.folder)
        runtime = create_mission_runtime(
            ToolCatalog(), persistence=self.storage, settings=settings, use_mock=True
        )
        specs = [
            OrchestratorSpec(name, self.world.orchestrate, max_concurrent=LIMIT) for name in "ab"
        ]
        self.node = Node(runtime, CapabilityRegistry(tuple(specs)))
        await self.node.start()

    async def restart(self, crash: bool) -> None:
        """With calls under way: they end by themselves, whatever comes of them."""
        self.world.restarts += 1
        self.world.failed |= self.storage.failed
        self.storage.failing = iter(())
        if crash:
            self.crash()
        await self.node.stop()
        await self.called()
        await self.start()

    def crash(self) -> None:
        """From here on nobody sees what the server does, and it lacks what it writes."""
        self.lives += 1
        folder = self.folder.parent / f"life-{self.lives}"
        folder.mkdir()
        with (
            closing(sqlite3.connect(self.folder / FILE)) as committed,
            closing(sqlite3.connect(folder / FILE)) as copy,
        ):
            committed.backup(copy)
        self.folder = folder

    async def called(self) -> None:
        async with asyncio.timeout(20):
            results = await asyncio.gather(*self.calls, return_exceptions=True)
        self.calls.clear()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def call(self, work: Coroutine[Any, Any, None], gone: int | None) -> None:
        task = asyncio.create_task(work)
        self.calls.append(task)
        if gone is not None:
            self.calls.append(asyncio.create_task(self.leave(task, gone)))

    async def leave(self, task: asyncio.Task[None], turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()

    async def do(self, action: Action) -> None:
        match action:
            case Submit():
                self.sent += 1
                self.call(self.submit(action, f"{action.kind} {self.sent}"), action.gone)
            case Answer():
                for _ in range(action.times):
                    self.call(self.answer(action.which), action.gone)
            case Cancel():
                self.call(self.cancel(action.which), action.gone)
            case Pause():
                await asyncio.sleep(action.seconds)
            case Prioritise():
                self.call(self.prioritise(action.which, action.priority), action.gone)
            case Restart():
                await self.restart(action.crash)
            case Fail():
                self.storage.failing = iter(action.pattern)

    async def submit(self, submit: Submit, message: str) -> None:
        request = Envelope(
            caller=ANN,
            message=message,
            session_id=f"session-{submit.session}",
            create_session=True,
            capability=submit.capability,
            request_id=None if submit.request_id is None else f"request-{submit.request_id}",
            on_busy=submit.on_busy,
        )
        life = self.lives
        try:
            await self.node.tower.submit_request(request, submit.priority)
            if life == self.lives:
                self.world.accepted.add(message)
        except (Busy, Conflict):
            self.world.refused.add(message)
        except (Unavailable, OSError):
            pass

    async def answer(self, which: int) -> None:
        tower, life = self.node.tower, self.lives
        try:
            pending = await tower.pending_interrupts(ANN)
            if not pending:
                return
            interrupt = pending[which % len(pending)]
            process = await tower.resume_request(ANN, interrupt.id, f"about {interrupt.question}")
            assert interrupt.id not in {each.id for each in process.interrupts}
            if life == self.lives:
                self.world.answered[interrupt.id] += 1
        except (Conflict, Unavailable, OSError):
            pass

    async def cancel(self, which: int) -> None:
        tower = self.node.tower
        try:
            processes = (await tower.list_processes(ANN)).items
            if processes:
                await tower.cancel_request(ANN, processes[which % len(processes)].pid)
        except (Conflict, Unavailable, OSError):
            pass

    async def prioritise(self, which: int, priority: SchedulingPriority) -> None:
        tower = self.node.tower
        try:
            processes = (await tower.list_processes(ANN)).items
            if processes:
                pid = processes[which % len(processes)].pid
                await tower.set_priority(ANN, pid, priority)
        except (Conflict, Unavailable, OSError):
            pass

    async def quiet(self) -> None:
        """Until nothing runs and nothing is in line."""
        await self.called()
        async with asyncio.timeout(10):
            while self.node.tower._accepted.under_way or self.node.tower.depth != (0, 0):
                await asyncio.sleep(0.002)

    def rows(self, sql: str) -> list[sqlite3.Row]:
        connection = sqlite3.connect(self.folder / FILE)
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


# what must hold when nothing runs


def check_nothing_is_held(node: Node) -> None:
    """No place, task, watcher or branch outlives the work that it was for."""
    tower = node.tower
    dispatcher = tower._dispatcher
    assert (tower.depth, dispatcher.abandoned) == ((0, 0), 0)
    assert dispatcher._scheduler._lanes == {}
    assert dispatcher._tasks == dispatcher._starts == dispatcher._returning == {}
    assert tower._watchers._watchers == tower._runner._roots == tower._runner._accounts == {}
    assert not tower._accepted.under_way


def check_processes(bench: Bench) -> None:
    processes = bench.rows("SELECT * FROM process")
    said = Counter(process["message"] for process in processes)
    assert set(said.values()) <= {1}
    assert bench.world.accepted <= set(said)
    assert not bench.world.refused & set(said)
    open_ = bench.rows("SELECT process_id FROM interrupt WHERE status = 'pending'")
    asked = {row["process_id"] for row in open_}
    for process in processes:
        assert process["state"] in ("terminated", "waiting"), tuple(process)
        assert (process["state"] == "waiting") is (process["pid"] in asked)
        kind = process["message"].partition(" ")[0]
        expected = {"failed"} if kind == "fail" else {"completed", None}
        if process["reason"] != "not_stored":
            assert process["outcome"] in {*expected, "cancelled"}, tuple(process)
        assert process["reason"] != "not_stored" or bench.world.failed or bench.storage.failed
    assert max(bench.world.answered.values(), default=1) == 1
    resolved = bench.rows("SELECT id FROM interrupt WHERE status = 'resolved'")
    assert set(bench.world.answered) <= {row["id"] for row in resolved}
    assert bench.world.crowded == []
    assert max(bench.world.effects.values(), default=0) <= 1 + bench.world.restarts


def check_usage(bench: Bench) -> None:
    """What was added up day by day is what the processes have used."""
    counted = ("llm_calls", "tool_calls", "tokens_in", "tokens_out", "elapsed")
    sums = ", ".join(f"SUM({name}) AS {name}" for name in counted)
    by_session = "GROUP BY session_id ORDER BY session_id"
    used = bench.rows(f"SELECT session_id, SUM(processes), {sums} FROM usage {by_session}")
    rows = bench.rows(f"SELECT session_id, COUNT(*), {sums} FROM process {by_session}")
    assert [tuple(row) for row in used] == [tuple(row) for row in rows]


def check_sessions(bench: Bench) -> None:
    for session in bench.rows("SELECT s.*, t.last_seq FROM session s JOIN stream t USING (id)"):
        own = f"session_id = {session['id']}"
        messages = bench.rows(f"SELECT * FROM message WHERE {own} AND deleted_at IS NULL")
        assert session["message_count"] == len(messages)
        events = bench.rows(f"SELECT * FROM event WHERE stream_id = {session['id']} ORDER BY seq")
        assert [event["seq"] for event in events] == list(range(1, session["last_seq"] + 1))
        check_story(events, bench.rows(f"SELECT * FROM process WHERE {own}"))
        check_order(bench.rows(f"SELECT * FROM process WHERE {own} ORDER BY message_id"))


def check_story(events: Sequence[sqlite3.Row], processes: Sequence[sqlite3.Row]) -> None:
    """Every process moved along legal transitions, one at a time ran, and what ended is silent."""
    states: dict[str, str] = defaultdict(lambda: "new")
    ended: set[str] = set()
    for event in events:
        pid, payload = str(event["pid"]), orjson.loads(event["payload"])
        assert pid not in ended
        if event["type"] == "process.state_changed":
            assert payload["from"] == states[pid]
            assert payload["to"] in TRANSITIONS[ProcessState(payload["from"])]
            states[pid] = payload["to"]
            assert Counter(states.values())["running"] <= 1
        elif event["type"] == "process.priority_changed":
            assert states[pid] == "ready"
        elif event["type"] in ENDINGS:
            ended.add(pid)
    assert {process["pid"]: process["state"] for process in processes} == states
    assert ended == {pid for pid, state in states.items() if state == "terminated"}


def check_order(processes: Sequence[sqlite3.Row]) -> None:
    replies = [
        process["reply_message_id"]
        for process in processes
        if process["outcome"] == "completed" and process["message"].partition(" ")[0] in STRAIGHT
    ]
    assert all(earlier < later for earlier, later in pairwise(replies))


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, made once: migrations take longer than all that is tested here."""
    folder = tmp_path_factory.mktemp("migrated")

    async def make() -> None:
        database = SqliteDatabase(folder)
        await database.open()
        await database.close()

    asyncio.run(make())
    return folder / FILE


async def run(folder: Path, actions: Sequence[Action]) -> None:
    bench = Bench(folder, World())
    await bench.start()
    for action in actions:
        await bench.do(action)
    bench.storage.failing = iter(())
    bench.world.over.set()
    await bench.quiet()
    check_nothing_is_held(bench.node)
    check_processes(bench)
    check_sessions(bench)
    check_usage(bench)
    while await bench.node.tower.pending_interrupts(ANN):
        await bench.answer(0)
    await bench.quiet()
    assert not bench.rows("SELECT * FROM process WHERE state <> 'terminated'")
    check_processes(bench)
    check_sessions(bench)
    check_usage(bench)
    await bench.node.stop()


@example([*CROWD, Pause(0.02)])
@given(actions)
def test_whatever_is_asked_of_it_the_tower_keeps_its_promises(
    migrated: Path, actions: list[Action]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "life-0"
        folder.mkdir()
        shutil.copy(migrated, folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(execution, "RETRY_SECONDS", (0.01, 0.02))
            asyncio.run(run(folder, actions))
