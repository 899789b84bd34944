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
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec
from mission_system.core.errors import MissionError, NotFound
from mission_system.core.identity import Caller
from mission_system.core.llm.provider import LLMChunk, LLMReply, LLMRequest, LLMUsage
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.storage.persistence import Params, Row, Unit
from mission_system.core.storage.sqlite.database import SqliteDatabase
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope, ProcessControlBlock, ProcessState

ANN = Caller("ann")
ENDINGS = ("process.completed", "process.failed", "process.cancelled")
PLENTY: dict[str, Any] = {
    f"max_{what}": 10_000
    for what in ("llm_calls", "tool_calls", "agent_hops", "iterations", "steps")
}

# programs


@dataclass(frozen=True)
class Do:
    """One thing to do. Where `fails` is above the number of the attempt, it raises."""

    what: str
    value: Any = "ok"
    fails: int = 0


@dataclass(frozen=True)
class Block:
    """Several things to do: one after another, side by side, in a stage, again on failure, ..."""

    how: str
    body: tuple[Do | Block, ...]


VALUES = [None, "ok", "nul \0", 2**70, 1.5, float("nan"), [1, {"a": []}], "large"]
CALLS = ["step", "sync", "look", "save", "burn"]
QUIET = ["emit", "stream", "complete", "sleep", "now", "random", "uuid", "history", "pause"]
BLOCKS = ["gather", "branch", "group", "collect", "stage", "rounds", "retry", "stubborn"]

leaves = st.one_of(
    st.builds(Do, st.sampled_from(CALLS), st.sampled_from(VALUES), st.sampled_from([0, 0, 1, 9])),
    st.builds(Do, st.sampled_from(["clarify", "confirm"]), st.sampled_from(["yes", "no"])),
    st.builds(Do, st.sampled_from(QUIET)),
)
programs = st.recursive(
    leaves,
    lambda inner: st.builds(
        Block, st.sampled_from(BLOCKS), st.lists(inner, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=10,
)


@dataclass
class World:
    """What lies outside the servers: it sees effects happen, and remembers across crashes."""

    effects: Counter[str] = field(default_factory=Counter)
    stored: set[str] = field(default_factory=set)
    repeated: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    units: int = 0

    def effect(self, place: str) -> None:
        self.effects[place] += 1
        if place in self.stored:
            self.repeated.append(place)


class Player:
    """Plays a program as an orchestrator would be written, in one life of a server."""

    def __init__(self, world: World, program: Do | Block) -> None:
        self.world = world
        self.program = program
        self.dead = False
        self.lost = False

    async def orchestrate(self, mission: Mission) -> str:
        self.lost = False
        return json.dumps(await self.play(mission, self.program, "top", 0))

    async def play(self, mission: Mission, part: Do | Block, place: str, attempt: int) -> Any:
        try:
            if isinstance(part, Block):
                value = await self.block(mission, part, place, attempt)
            else:
                value = await self.do(mission, part, place, attempt)
        except Exception as error:
            self.note(f"{place}#{attempt}", f"{type(error).__name__}: {error}")
            raise
        self.note(f"{place}#{attempt}", repr(value))
        if isinstance(part, Do) and part.what in ("now", "random", "uuid"):
            return part.what
        return repr(value)[:50]

    def note(self, place: str, outcome: str) -> None:
        """What the orchestrator was given here must be the same in every run."""
        if not self.lost:
            assert self.world.seen.setdefault(place, outcome) == outcome

    async def block(self, mission: Mission, block: Block, place: str, attempt: int) -> Any:
        parts = [(part, f"{place}.{n}") for n, part in enumerate(block.body)]

        async def sequence(attempt: int = attempt) -> list[Any]:
            return [await self.play(mission, part, where, attempt) for part, where in parts]

        match block.how:
            case "gather":
                return await mission.gather(*(self.play(mission, *p, attempt) for p in parts))
            case "branch":
                async with mission.branch(f"{block.how} {place} {attempt}"):
                    return await sequence()
            case "stage":
                async with mission.stage(f"stage {place}"):
                    return await sequence()
            case "group":
                async with asyncio.TaskGroup() as group:
                    started = [self.branch(mission, *p, attempt) for p in parts]
                    tasks = [group.create_task(coroutine) for coroutine in started]
                return [task.result() for task in tasks]
            case "collect":
                started = [self.branch(mission, *p, attempt) for p in parts]
                results = await asyncio.gather(*started, return_exceptions=True)
                self.lost |= any(isinstance(result, BaseException) for result in results)
                return list(map(str, results))
            case "rounds":
                async for number in mission.rounds():
                    if number == len(parts):
                        return await sequence()
            case "retry":
                for number in range(3):
                    try:
                        return await sequence(10 * attempt + number)
                    except MissionError:
                        continue
                return "gave up"
            case "stubborn":
                try:
                    return await sequence()
                except asyncio.CancelledError:
                    raise
                except BaseException as error:
                    if isinstance(error, Exception):
                        return f"survived {error}"
                    await mission.step(f"never {place}", self.effect, f"never {place}", None, False)
        return await sequence()

    async def branch(self, mission: Mission, part: Do | Block, where: str, attempt: int) -> Any:
        async with mission.branch(f"task {where} {attempt}"):
            try:
                return await self.play(mission, part, where, attempt)
            except MissionError as error:
                return f"caught {error}"

    async def do(self, mission: Mission, do: Do, place: str, attempt: int) -> Any:
        name, fails = f"{do.what} {place} {attempt}", attempt % 10 < do.fails
        match do.what:
            case "step":
                return await mission.step(name, self.effect, name, do.value, fails)
            case "sync":
                return await mission.step(name, self.sync_effect, name, do.value, fails)
            case "look" | "save" | "burn":
                return await mission.tools.call(do.what, place=name, fails=fails)
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

    async def effect(self, name: str, value: Any, fails: bool) -> Any:
        if self.dead:  # a killed process does nothing any more
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return self.sync_effect(name, value, fails)

    def sync_effect(self, name: str, value: Any, fails: bool) -> Any:
        self.world.effect(name)
        if fails:
            raise ValueError(f"{name} fails, with half a pair: \ud800")
        return "x" * 70_000 if value == "large" else value

    def tools(self) -> ToolCatalog:
        @tool
        async def look(place: str, fails: bool) -> str:
            """Read something."""
            return cast(str, await self.effect(place, f"looked {place}", fails))

        @tool(risk="write", idempotent=True)
        async def save(place: str, fails: bool) -> str:
            """Write something that may be written twice."""
            return cast(str, await self.effect(place, f"saved {place}", fails))

        @tool(risk="destructive")
        async def burn(place: str, fails: bool) -> str:
            """Do something that must not be done twice unasked."""
            return cast(str, await self.effect(place, f"burned {place}", fails))

        return ToolCatalog([look, save, burn])


class Model:
    """A provider that repeats the prompt, in two pieces."""

    name = "model"

    def __init__(self, player: Player) -> None:
        self.player = player

    async def complete(self, request: LLMRequest) -> LLMReply:
        place = request.messages[-1].content
        return LLMReply(await self.player.effect(place, f"of {place}", False), LLMUsage(3, 5))

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        text = (await self.complete(request)).text
        yield LLMChunk(text[:5])
        await asyncio.sleep(0)
        yield LLMChunk(text[5:])
        yield LLMChunk("", LLMUsage(3, 5))


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

    async def unless_dead(self, result: Any) -> Any:
        if self.died.is_set():
            await self.awake.wait()
        return result


def serve(
    folder: Path, world: World, program: Do | Block, death: Death | None
) -> tuple[Node, Player, Doomed]:
    player, storage = Player(world, program), Doomed(folder, death)
    runtime = create_mission_runtime(
        player.tools(),
        persistence=storage,
        settings=Settings(data=folder, quota=cast(Any, PLENTY)),
        use_mock=True,
    )
    runtime = replace(runtime, mock_provider=cast(Any, Model(player)))
    spec = OrchestratorSpec("any", player.orchestrate)
    return Node(runtime, CapabilityRegistry((spec,))), player, storage


async def live(
    folder: Path, world: World, program: Do | Block, death: Death | None, order: Random
) -> ProcessControlBlock | None:
    """One life of a server: the request is sent unless it is known, and seen to its end.

    None when the server died before. What it had begun is abandoned as a killed process leaves
    it: without a last word to the storage.
    """
    world.stored = stored(folder)
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
        request = Envelope(caller=ANN, message="go", request_id="request")
        process = cast(ProcessControlBlock, (await tower.submit_request(request)).process)
    while (process := await tower.wait(ANN, process.pid, 10)).state is ProcessState.WAITING:
        answered = order.sample(process.interrupts, order.randint(1, len(process.interrupts)))
        answers = [tower.resume_request(ANN, each.id, answer(each.question)) for each in answered]
        await asyncio.gather(*answers)
    assert process == await tower.get(ANN, process.pid)
    return process


def answer(question: str) -> str:
    if question.startswith("The server stopped"):
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
    tables = ("stream", "session", "process", "message", "step", "interrupt", "event")
    return {
        table: [tuple(row) for row in rows(folder, f"SELECT * FROM {table}")] for table in tables
    }


STEPS = "SELECT s.*, o.body FROM step s LEFT JOIN step_output o ON o.id = s.id"


def stored(folder: Path) -> set[str]:
    """The places of the effects whose outcome is in the journal."""
    done = rows(folder, f"{STEPS} WHERE status <> 'started' AND kind <> 'interrupt'")
    texts = [f"{row['name']} {row['output']} {row['error']}" for row in done]
    return {found[0] for text in texts if (found := re.search(r"\w+ top[.\d]* \d+", text))}


def steps(folder: Path) -> dict[str, tuple[Any, ...]]:
    """What each step was and gave; but for times, and for what was asked after a crash."""
    return {
        row["key"]: (
            row["kind"],
            row["name"],
            row["status"],
            None if row["kind"] in ("now", "sleep") else row["body"] or row["output"],
            row["error"],
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
    payloads = [(event["type"], json.loads(event["payload"])) for event in events]
    of = lambda type: [payload for each, payload in payloads if each == type]  # noqa: E731
    assert len(of("process.created")) == 1
    moves = of("process.state_changed")
    assert [move["from"] for move in moves] == ["new", *(move["to"] for move in moves[:-1])]
    assert moves[-1]["to"] == "terminated"
    ends = [each for each, _ in payloads if each in ENDINGS]
    assert ends == [payloads[-1][0]] == [f"process.{process.outcome}"]
    messages = rows(folder, "SELECT id, role, content FROM message ORDER BY id")
    told = [(m["message_id"], m["role"], m["content"]) for m in of("chat.message.created")]
    assert told == [tuple(message) for message in messages]
    raised = {payload["interrupt_id"] for payload in of("interrupt.raised")}
    asked = rows(folder, "SELECT id, status FROM interrupt")
    assert raised == {row["id"] for row in asked}
    assert len(of("interrupt.resolved")) == sum(row["status"] == "resolved" for row in asked)
    assert not [row for row in asked if row["status"] == "pending"]
    check_deltas(folder, of("llm.delta"))


def check_deltas(folder: Path, deltas: Sequence[dict[str, Any]]) -> None:
    """A client that drops what a later attempt replaced has read every reply exactly."""
    texts: dict[tuple[str, int], str] = {}
    for delta in deltas:
        attempt = (delta["step"], delta["attempt"])
        assert delta["offset"] == len(texts.setdefault(attempt, ""))
        texts[attempt] += delta["text"]
    for row in rows(folder, "SELECT * FROM step WHERE kind = 'llm'"):
        attempts = [attempt for step, attempt in texts if step == row["key"]]
        if attempts:
            assert texts[row["key"], max(attempts)] == json.loads(row["output"])


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
    with tempfile.TemporaryDirectory() as name:
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
            "outcome": (process.outcome, process.reply, process.error),
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
        Block("rounds", (Do("complete"), Do("now"), Do("uuid"), Do("sleep"))),
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
    with tempfile.TemporaryDirectory() as name:
        shutil.copy(migrated, name)
        asyncio.run(sleep_through(Path(name), World(), program, death, order))
