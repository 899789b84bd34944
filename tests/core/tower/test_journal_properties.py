"""Any orchestrator, killed after any of its commits, ends as if nothing had happened.

Orchestrators are generated as data and played by `play`. Each is run once in peace, and once in
servers that die again and again; then the two are compared.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec
from mission_system.core.errors import Conflict, MissionError, NotFound
from mission_system.core.identity import Caller
from mission_system.core.llm.provider import LLMChunk, LLMReply, LLMRequest, LLMUsage
from mission_system.core.node import Node
from mission_system.core.retry import Retry
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.storage.persistence import Params, Row, Unit
from mission_system.core.storage.sqlite.database import SqliteDatabase
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import (
    Envelope,
    Interrupt,
    ProcessControlBlock,
    ProcessState,
)

ANN = Caller("ann")
ENDINGS = ("process.completed", "process.failed", "process.cancelled")
PLENTY: dict[str, Any] = {
    f"max_{what}": 10_000
    for what in ("llm_calls", "tool_calls", "agent_hops", "iterations", "steps")
} | {"timeout_seconds": 100_000.0, "soft_timeout_seconds": 100_000.0}

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Hundreds of servers close their files: on a slow disk that takes minutes."""

# programs


@dataclass(frozen=True)
class Do:
    """One thing to do. Where `fails` is above the number of the attempt, it raises; a call that is
    tried again by policy raises the first time, or each time."""

    what: str
    value: Any = "ok"
    fails: int = 0


@dataclass(frozen=True)
class Block:
    """Several things to do: one after another, side by side, in a stage, again on failure, in a
    child, before a cancel, ..."""

    how: str
    body: tuple[Do | Block, ...]


VALUES = [None, "ok", "nul \0", 2**70, 1.5, float("nan"), [1, {"a": []}], "large"]
CALLS = ["step", "sync", "tried", "look", "poll", "save", "burn"]
QUIET = ["emit", "stream", "complete", "sleep", "now", "random", "uuid", "history", "pause"]
BLOCKS = ["gather", "branch", "group", "collect", "stage", "rounds", "retry", "stubborn"]
CANCELS = ["limit", "cut", "race"]

leaves = st.one_of(
    st.builds(Do, st.sampled_from(CALLS), st.sampled_from(VALUES), st.sampled_from([0, 0, 1, 9])),
    st.builds(Do, st.sampled_from(["clarify", "confirm"]), st.sampled_from(["yes", "no"])),
    st.builds(Do, st.sampled_from(QUIET)),
)
programs = st.recursive(
    leaves,
    lambda inner: st.builds(
        Block,
        st.sampled_from([*BLOCKS, *CANCELS, "spawn"]),
        st.lists(inner, min_size=1, max_size=3).map(tuple),
    ),
    max_leaves=10,
)
PERSISTENT = Retry(3, 0, 0)


def has_tasks(part: Do | Block) -> bool:
    """Whether it starts tasks without the mission. Such a task stops alone: nobody can know when
    the one that waits for it hears of it, so that one must let a suspension pass."""
    return isinstance(part, Block) and (
        part.how in ("group", "collect", "cut", "race") or any(map(has_tasks, part.body))
    )


@dataclass
class World:
    """What lies outside the servers: it sees effects happen, and remembers across crashes."""

    effects: Counter[str] = field(default_factory=Counter)
    over: set[str] = field(default_factory=set)
    """Effects whose outcome an orchestrator has seen, or will see: it is in the journal."""
    repeated: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    units: int = 0


class Player:
    """Plays a program as orchestrators would, in one life of a server."""

    def __init__(self, folder: Path, world: World, program: Do | Block) -> None:
        self.folder = folder
        self.world = world
        self.program = program
        self.dead = False

    async def orchestrate(self, mission: Mission) -> str:
        return json.dumps(await Scene(self, mission).play(self.program, "top", 0))

    async def orchestrate_child(self, mission: Mission) -> str:
        place, _, attempt = mission.message.partition("#")
        block = self.program
        for number in place.split(".")[1:]:
            block = cast(Block, block).body[int(number)]
        return json.dumps(await Scene(self, mission).sequence(cast(Block, block), place, attempt))


class Scene:
    """One run of one process."""

    def __init__(self, player: Player, mission: Mission) -> None:
        self.player = player
        self.world = player.world
        self.mission = mission
        self.lost = False
        self.world.over |= stored(player.folder)
        self.tried = tried(player.folder)
        self.calls: Counter[str] = Counter()
        on_stage.set(self)

    async def play(self, part: Do | Block, place: str, attempt: int) -> Any:
        try:
            if isinstance(part, Block):
                value = await self.block(part, place, attempt)
            else:
                value = await self.do(part, place, attempt)
        except Exception as error:
            self.note(f"{place}#{attempt}", f"{type(error).__name__}: {error}")
            raise
        self.note(f"{place}#{attempt}", repr(value))
        if isinstance(part, Do) and part.what in ("now", "random", "uuid"):
            return part.what
        return repr(value)[:50]

    def note(self, place: str, outcome: str) -> None:
        """What the orchestrator was given here must be the same in every run."""
        if not self.lost and not self.player.dead:
            assert self.world.seen.setdefault(place, outcome) == outcome

    async def sequence(self, block: Block, place: str, attempt: int | str) -> list[Any]:
        number = int(attempt)
        return [await self.play(part, f"{place}.{n}", number) for n, part in enumerate(block.body)]

    async def block(self, block: Block, place: str, attempt: int) -> Any:
        mission = self.mission
        parts = [(part, f"{place}.{n}", attempt) for n, part in enumerate(block.body)]
        match block.how:
            case "gather":
                return await mission.gather(*(self.play(*part) for part in parts))
            case "branch":
                async with mission.branch(f"{block.how} {place} {attempt}"):
                    return await self.sequence(block, place, attempt)
            case "stage":
                async with mission.stage(f"stage {place}"):
                    return await self.sequence(block, place, attempt)
            case "group":
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self.branch(*part)) for part in parts]
                return [task.result() for task in tasks]
            case "collect":
                started = [self.branch(*part) for part in parts]
                results = await asyncio.gather(*started, return_exceptions=True)
                self.lost |= any(isinstance(result, BaseException) for result in results)
                return list(map(str, results))
            case "rounds":
                async for number in mission.rounds():
                    if number == len(parts):
                        return await self.sequence(block, place, attempt)
            case "retry":
                for number in range(3):
                    try:
                        return await self.sequence(block, place, 10 * attempt + number)
                    except MissionError:
                        continue
                return "gave up"
            case "stubborn" if has_tasks(block):
                return await self.sequence(block, place, attempt)
            case "stubborn":
                try:
                    return await self.sequence(block, place, attempt)
                except asyncio.CancelledError:
                    raise
                except BaseException as error:
                    if isinstance(error, Exception):
                        return f"survived {error}"
                    await mission.step(f"never {place}", self.effect, f"never {place}", None, False)
            case "spawn":
                return (await mission.spawn("part", f"{place}#{attempt}")).text
        return await self.cancelling(block, place, attempt)

    async def branch(self, part: Do | Block, place: str, attempt: int) -> Any:
        async with self.mission.branch(f"task {place} {attempt}"):
            try:
                return await self.play(part, place, attempt)
            except MissionError as error:
                return f"caught {error}"

    # what an orchestrator cancels itself, always at the same point: while it hangs

    async def cancelling(self, block: Block, place: str, attempt: int) -> str:
        names = [f"hang {place} {attempt}", f"hung {place} {attempt}"]
        loop = asyncio.get_running_loop()

        async def hang(name: str) -> None:
            async with self.mission.branch(name):
                await self.mission.step(name, self.hang, name)

        async def cut() -> None:
            async with self.mission.branch(f"cut {place} {attempt}"):
                await self.sequence(block, place, attempt)
                loop.call_soon(cast("asyncio.Task[None]", asyncio.current_task()).cancel)
                await hang(names[0])

        async def lose() -> None:
            async with self.mission.branch(f"race {place} {attempt}"):
                await self.sequence(block, place, attempt)
                raise MissionError("the others are not waited for")

        match block.how:
            case "limit":
                try:
                    async with asyncio.timeout(None) as limit:
                        await self.sequence(block, place, attempt)
                        limit.reschedule(loop.time())
                        await self.mission.gather(*map(hang, names))
                except TimeoutError:
                    return self.cancelled(*names)
            case "cut":
                task = asyncio.create_task(cut())
                await asyncio.wait([task])
                if task.cancelled():
                    return self.cancelled(names[0])
                await task
            case "race":
                texts: list[str] = []
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(hang(names[0]))
                        group.create_task(lose())
                except* MissionError as errors:
                    texts = [str(error) for error in errors.exceptions]
                return f"{texts} {self.cancelled(names[0])}"
        raise AssertionError(f"{block.how} came to no end")

    def cancelled(self, *names: str) -> str:
        if not self.player.dead:
            self.world.over.update(names)
        return "cancelled"

    # effects

    async def do(self, do: Do, place: str, attempt: int) -> Any:
        mission = self.mission
        name, fails = f"{do.what} {place} {attempt}", attempt % 10 < do.fails
        match do.what:
            case "step":
                return await mission.step(name, self.effect, name, do.value, fails)
            case "sync":
                return await mission.step(name, self.sync_effect, name, do.value, fails)
            case "tried":
                again = (name, do.value, do.fails)
                return await mission.step(name, self.tried_effect, *again, retry=PERSISTENT)
            case "look" | "save" | "burn":
                return await mission.tools.call(do.what, place=name, fails=fails)
            case "poll":
                return await mission.tools.call(do.what, place=name, fails=do.fails)
            case "clarify":
                return await mission.clarify(name)
            case "confirm":
                return await mission.confirm(f"{name} {do.value}")
            case "emit":
                return await mission.emit("told", {"place": name})
            case "stream":
                return (await mission.llm().stream(name)).text
            case "complete":
                return (await mission.llm().complete(name)).text
            case "sleep":
                return await mission.sleep(0)
            case "now":
                return await mission.now()
            case "random":
                return mission.random().random()
            case "uuid":
                return mission.uuid()
            case "history":
                return await mission.history()
        return await asyncio.sleep(0)

    def happen(self, name: str, attempts: int = 1) -> None:
        """An effect: once at most in a run, or as often as its policy has left."""
        self.world.effects[name] += 1
        self.calls[name] += 1
        left = max(1, attempts - self.tried.get(name, 0))
        if name in self.world.over or self.calls[name] > left:
            self.world.repeated.append(name)

    async def effect(self, name: str, value: Any, fails: bool) -> Any:
        await self.alive()
        await asyncio.sleep(0)
        return self.sync_effect(name, value, fails)

    async def tried_effect(self, name: str, value: Any, fails: int) -> Any:
        await self.alive()
        self.happen(name, PERSISTENT.attempts)
        if name.startswith("tried") and self.calls[name] > 1:
            await self.journaled(name)
        return self.result(name, value, fails == 9 or self.world.effects[name] <= fails)

    def sync_effect(self, name: str, value: Any, fails: bool) -> Any:
        self.happen(name)
        return self.result(name, value, fails)

    async def hang(self, name: str) -> None:
        if not self.player.dead:
            self.happen(name)
        await asyncio.Event().wait()

    async def journaled(self, name: str) -> None:
        """Not before the journal knows that this is another attempt, so that servers die then."""
        try:
            async with asyncio.timeout(30):
                while tried(self.player.folder).get(name, 0) < self.calls[name]:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            self.world.repeated.append(f"{name}, unknown to the journal")

    async def alive(self) -> None:
        if self.player.dead:  # a killed process does nothing any more
            await asyncio.Event().wait()

    def result(self, name: str, value: Any, fails: bool) -> Any:
        if fails:
            raise ValueError(f"{name} fails, with half a pair: \ud800")
        return "x" * 70_000 if value == "large" else value


on_stage: ContextVar[Scene] = ContextVar("on_stage")


@tool
async def look(place: str, fails: bool) -> str:
    """Read something."""
    return cast(str, await on_stage.get().effect(place, f"looked {place}", fails))


@tool(retry=PERSISTENT)
async def poll(place: str, fails: int) -> str:
    """Read something that is not always there."""
    return cast(str, await on_stage.get().tried_effect(place, f"polled {place}", fails))


@tool(risk="write", idempotent=True)
async def save(place: str, fails: bool) -> str:
    """Write something that may be written twice."""
    return cast(str, await on_stage.get().effect(place, f"saved {place}", fails))


@tool(risk="destructive")
async def burn(place: str, fails: bool) -> str:
    """Do something that must not be done twice unasked."""
    return cast(str, await on_stage.get().effect(place, f"burned {place}", fails))


MODEL = "acme/echo"


class Model:
    """A provider that repeats the prompt, in two pieces, and says what that takes by and by."""

    name = "model"

    async def complete(self, request: LLMRequest) -> LLMReply:
        place = request.messages[-1].content
        text = await on_stage.get().effect(place, f"of {place}", False)
        return LLMReply(text, LLMUsage(3, 5), model=MODEL)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        text = (await self.complete(request)).text
        yield LLMChunk(text[:5], LLMUsage(3, 1), model=MODEL)
        await asyncio.sleep(0)
        yield LLMChunk(text[5:])
        yield LLMChunk("", LLMUsage(3, 5), model=MODEL)


# servers that die


@dataclass(frozen=True)
class Death:
    """After how many units of work a server dies; `heard`: whether it learns that the last one
    was committed, and works on until it would commit again."""

    units: int
    heard: bool


class Doomed:
    """Storage of a server that dies: from some moment on nothing is written, read or answered.

    Unless it only slept: then all that was asked of it happens when it is `awake`.
    """

    def __init__(self, folder: Path, death: Death | None) -> None:
        self.real = SqliteDatabase(folder)
        self.death = death
        self.begun = 0
        self.committed = 0
        self.died = asyncio.Event()
        self.awake = asyncio.Event()

    async def open(self) -> None:
        await self.real.open()

    async def close(self) -> None:
        await self.real.close()

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        return await self.unless_dead(await self.real.fetch_one(sql, params))

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        return await self.unless_dead(await self.real.fetch_all(sql, params))

    async def write(self, unit: Unit[Any]) -> Any:
        if self.death is not None and self.begun == self.death.units:
            self.died.set()
        await self.unless_dead(None)
        self.begun += 1
        result = await self.real.write(unit)
        self.committed += 1
        if self.death is not None and not self.death.heard and self.committed == self.death.units:
            self.died.set()
        return await self.unless_dead(result)

    async def units_ended(self) -> None:
        await self.real.units_ended()

    async def unless_dead(self, result: Any) -> Any:
        if self.died.is_set():
            await self.awake.wait()
        return result


def serve(
    folder: Path, world: World, program: Do | Block, death: Death | None
) -> tuple[Node, Player, Doomed]:
    player, storage = Player(folder, world, program), Doomed(folder, death)
    settings = Settings(
        data=folder, quota=cast(Any, PLENTY), max_restarts=10_000, cleanup_seconds=0
    )
    runtime = create_mission_runtime(
        ToolCatalog([look, poll, save, burn]), persistence=storage, settings=settings, use_mock=True
    )
    runtime = replace(runtime, mock_provider=cast(Any, Model()))
    specs = (
        OrchestratorSpec("any", player.orchestrate),
        OrchestratorSpec("part", player.orchestrate_child),
    )
    return Node(runtime, CapabilityRegistry(specs)), player, storage


async def live(
    folder: Path, world: World, program: Do | Block, death: Death | None, order: Random
) -> ProcessControlBlock | None:
    """One life of a server: the request is sent unless it is known, and seen to its end.

    None when the server died before. What it had begun is abandoned as a killed process leaves
    it: without a last word to the storage.
    """
    others = asyncio.all_tasks()
    node, player, storage = serve(folder, world, program, death)
    course = asyncio.create_task(see_to_its_end(node, order))
    dying = asyncio.create_task(storage.died.wait())
    await asyncio.wait([course, dying], return_when=asyncio.FIRST_COMPLETED)
    world.units += storage.committed
    if storage.died.is_set():
        player.dead = True
        await abandon(others)
        node.runtime.threads.close()
        await storage.real.close()
        return None
    dying.cancel()
    await node.stop()
    assert asyncio.all_tasks() - others <= {course, dying}, "a stopped server leaves tasks behind"
    return course.result()


async def sleep_through(
    folder: Path, world: World, program: Do | Block, death: Death, order: Random
) -> None:
    """A server falls asleep, loses its lease to another, and wakes when all is over."""
    node, _, storage = serve(folder, world, program, death)
    course = asyncio.create_task(see_to_its_end(node, order))
    asleep = asyncio.create_task(storage.died.wait())
    await asyncio.wait([course, asleep], return_when=asyncio.FIRST_COMPLETED)
    if storage.died.is_set():
        storage.real.lease.release()
        assert await live(folder, world, program, None, order) is not None
    before = everything(folder)
    storage.awake.set()
    course.cancel()
    asleep.cancel()
    await node.stop()
    assert everything(folder) == before


async def abandon(others: set[asyncio.Task[Any]]) -> None:
    while left := asyncio.all_tasks() - others:
        for task in left:
            task.cancel()
        await asyncio.sleep(0)


async def see_to_its_end(node: Node, order: Random) -> ProcessControlBlock:
    await node.start()
    tower = node.tower
    try:
        process = await tower.get(ANN, "request")
    except NotFound:
        request = Envelope(caller=ANN, message="go", capability="any", request_id="request")
        process = cast(ProcessControlBlock, (await tower.submit_request(request)).process)

    async def reply(interrupt: Interrupt) -> None:
        with suppress(Conflict):  # what is shown of a family may be a moment old
            await tower.resume_request(ANN, interrupt.id, answer(interrupt.question))

    async with asyncio.timeout(300):
        while not (process := await tower.wait(ANN, process.pid, 10)).settled or process.interrupts:
            open = process.interrupts
            answered = order.sample(open, order.randint(1, len(open))) if open else []
            await asyncio.gather(*map(reply, answered))
    assert process == await tower.get(ANN, process.pid)
    return process


def answer(question: str) -> str:
    if "may or may not have taken effect" in question:
        return "retry"
    if question.startswith("May I run"):
        return "yes"
    return question.rpartition(" ")[2] if question.startswith("confirm") else f"to {question}"


# what is left afterwards


def rows(folder: Path, sql: str) -> list[sqlite3.Row]:
    connection = sqlite3.connect(folder / "mission.sqlite3")
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def everything(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    tables = ("stream", "session", "process", "message", "step", "interrupt", "event", "usage")
    return {
        table: [tuple(row) for row in rows(folder, f"SELECT * FROM {table}")]
        for table in (*tables, "model_usage")
    }


STEPS = "SELECT s.*, o.body FROM step s LEFT JOIN step_output o ON o.id = s.id"


def stored(folder: Path) -> set[str]:
    """The places of the effects whose outcome is in the journal."""
    done = rows(folder, f"{STEPS} WHERE status <> 'started' AND kind <> 'interrupt'")
    texts = [f"{row['name']} {row['output']} {row['error']}" for row in done]
    return {found[0] for text in texts if (found := re.search(r"\w+ top[.\d]* \d+", text))}


def tried(folder: Path) -> dict[str, int]:
    """How often the steps have been tried that are not over, by name."""
    begun = rows(folder, "SELECT name, attempt FROM step WHERE status = 'started'")
    return {row["name"]: row["attempt"] for row in begun}


def family(folder: Path) -> dict[str, str]:
    """A path for each process, by pid: what is left of it where pids differ."""
    paths = {"": ""}
    for row in rows(folder, "SELECT pid, parent_pid, parent_key FROM process ORDER BY depth"):
        paths[row["pid"]] = f"{paths[row['parent_pid'] or '']}{row['parent_key']}>"
    return paths


INCIDENT = re.compile(r"incident [-0-9a-f]+")


def steps(folder: Path) -> dict[str, tuple[Any, ...]]:
    """What each step was and gave; but for times and ids, and for what was asked after a crash."""
    paths = family(folder)

    def same(text: str | None) -> str | None:
        for pid, path in paths.items():
            text = text and text.replace(pid or path, path)
        return text and INCIDENT.sub("incident", text)

    return {
        paths[row["process_id"]] + row["key"]: (
            row["kind"],
            row["name"],
            row["status"],
            None if row["kind"] in ("now", "sleep") else same(row["body"] or row["output"]),
            same(row["error"]),
        )
        for row in rows(folder, STEPS)
        if ".review" not in row["key"]
    }


def check_story(folder: Path, process: ProcessControlBlock) -> None:
    """The events are whole, in order, and agree with the rows that they tell of."""
    events = rows(folder, "SELECT * FROM event ORDER BY seq")
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    keyed = [(e["pid"], e["key"], e["type"]) for e in events if e["key"] is not None]
    assert len(set(keyed)) == len(keyed)
    assert events[-1]["type"] == f"process.{process.outcome}"
    for row in rows(folder, "SELECT * FROM process"):
        check_life(row, [event for event in events if event["pid"] == row["pid"]])
    of = lambda type: [json.loads(e["payload"]) for e in events if e["type"] == type]  # noqa: E731
    messages = rows(folder, "SELECT id, role, content FROM message ORDER BY id")
    told = [(m["message_id"], m["role"], m["content"]) for m in of("chat.message.created")]
    assert told == [tuple(message) for message in messages]
    raised = {payload["interrupt_id"] for payload in of("interrupt.raised")}
    asked = rows(folder, "SELECT id, status FROM interrupt")
    assert raised == {row["id"] for row in asked}
    assert len(of("interrupt.resolved")) == sum(row["status"] == "resolved" for row in asked)
    assert not [row for row in asked if row["status"] == "pending"]
    check_deltas(folder, events)
    check_tokens(folder)


def check_life(process: sqlite3.Row, events: Sequence[sqlite3.Row]) -> None:
    """One process's events lead from its beginning to its end."""
    types = [event["type"] for event in events]
    assert types.count("process.created") == 1
    changes = [event for event in events if event["type"] == "process.state_changed"]
    moves = [json.loads(event["payload"]) for event in changes]
    assert [move["from"] for move in moves] == ["new", *(move["to"] for move in moves[:-1])]
    assert moves[-1]["to"] == process["state"] == "terminated"
    assert [type for type in types if type in ENDINGS] == [f"process.{process['outcome']}"]


def check_tokens(folder: Path) -> None:
    """What models have taken is the same by step, process, user and model, whatever was cut off."""
    taken = "COALESCE(SUM(tokens_in), 0), COALESCE(SUM(tokens_out), 0)"
    sources = ("step", "usage", "model_usage", "process WHERE parent_pid IS NULL")
    sums = {of: tuple(*map(tuple, rows(folder, f"SELECT {taken} FROM {of}"))) for of in sources}
    assert len(set(sums.values())) == 1, sums


def check_deltas(folder: Path, events: Sequence[sqlite3.Row]) -> None:
    """A client that drops what a later attempt replaced has read every reply exactly."""
    texts: dict[tuple[str, str, int], str] = {}
    for event in events:
        if event["type"] == "llm.delta":
            delta = json.loads(event["payload"])
            attempt = (event["pid"], delta["step"], delta["attempt"])
            assert delta["offset"] == len(texts.setdefault(attempt, ""))
            texts[attempt] += delta["text"]
    for row in rows(folder, "SELECT * FROM step WHERE kind = 'llm' AND status = 'completed'"):
        step = (row["process_id"], row["key"])
        attempts = [attempt for *place, attempt in texts if tuple(place) == step]
        if attempts:
            assert texts[*step, max(attempts)] == json.loads(row["output"])


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Hundreds of tracebacks, made beautiful, take longer than all that is tested here."""
    with capture_logs():
        yield


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, made once: migrations take longer than all that is tested here."""
    folder = tmp_path_factory.mktemp("migrated")

    async def make() -> None:
        database = SqliteDatabase(folder)
        await database.open()
        await database.close()

    asyncio.run(make())
    return folder / "mission.sqlite3"


def run(
    migrated: Path, program: Do | Block, deaths: Sequence[Death], order: Random
) -> tuple[dict[str, Any], int]:
    """What must be the same in every course of the program, and how many units this one took."""
    world = World()
    with TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        shutil.copy(migrated, folder)
        process = None
        for death in [*deaths, None]:
            process = asyncio.run(live(folder, world, program, death, order))
            if process is not None:
                break
        assert process is not None
        assert process.state is ProcessState.TERMINATED, (process.state, process.error)
        assert world.repeated == []
        assert not [place for place in world.effects if place.startswith("never")]
        assert process.stage is None
        check_story(folder, process)
        kept = {
            "outcome": (
                process.outcome,
                INCIDENT.sub("incident", process.reply or ""),
                INCIDENT.sub("incident", process.error or ""),
            ),
            "hops": process.usage.agent_hops,
            "steps": steps(folder),
            "effects": set(world.effects),
        }
        return kept, world.units


dying = st.builds(Death, st.integers(1, 9), st.booleans())


@given(programs, st.lists(dying, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_killed_servers_change_nothing(
    migrated: Path, program: Do | Block, deaths: list[Death], order: Random
) -> None:
    troubled, _ = run(migrated, program, deaths, order)
    peaceful, _ = run(migrated, program, [], order)
    for part, expected in peaceful.items():
        assert troubled[part] == expected, part


EVERYTHING = Block(
    "stage",
    (
        Do("step"),
        Block(
            "gather",
            (
                Block("stage", (Do("clarify", "x"), Do("look"))),
                Do("stream"),
                Block("retry", (Do("sync", fails=1), Do("emit"))),
                Do("burn"),
            ),
        ),
        Block("group", (Do("confirm", "yes"), Do("step", "large"), Do("save"))),
        Block("limit", (Block("group", (Do("tried", fails=9),)),)),
        Block("spawn", (Do("poll", fails=1), Block("cut", (Do("confirm", "no"),)))),
        Block("race", (Block("rounds", (Do("complete"), Do("now"), Do("uuid"), Do("sleep"))),)),
    ),
)


def test_server_may_be_killed_after_every_single_commit(migrated: Path, nightly: bool) -> None:
    peaceful, units = run(migrated, EVERYTHING, [], Random(0))
    assert units > 20
    for number in range(1, units):
        for heard in (False, True) if nightly else (number % 2 == 0,):
            troubled, _ = run(migrated, EVERYTHING, [Death(number, heard)], Random(0))
            assert troubled == peaceful, (number, heard)


def test_servers_may_be_killed_again_and_again(migrated: Path) -> None:
    """Each takes the process up (two units), gets one step further, and dies."""
    peaceful, units = run(migrated, EVERYTHING, [], Random(0))
    troubled, _ = run(migrated, EVERYTHING, [Death(3, True)] * 2 * units, Random(0))
    assert troubled == peaceful


@given(programs, dying, st.randoms(use_true_random=False))
def test_server_that_only_slept_writes_nothing_when_it_wakes(
    migrated: Path, program: Do | Block, death: Death, order: Random
) -> None:
    with TemporaryDirectory(dir=MEMORY) as name:
        shutil.copy(migrated, name)
        asyncio.run(sleep_through(Path(name), World(), program, death, order))
