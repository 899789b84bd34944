"""Whatever is done, a search finds what a scan of everything would: with the index behind, half
made, or left by a crash."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec
from mission_system.core.chat.paging import Window
from mission_system.core.chat.search import indexer
from mission_system.core.chat.search.blocks import ids_in
from mission_system.core.chat.search.case import Wanted
from mission_system.core.chat.search.find import Finder
from mission_system.core.chat.search.indexer import Indexer
from mission_system.core.chat.search.span import Span
from mission_system.core.clock import now
from mission_system.core.errors import Forbidden, NotFound
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.storage.persistence import Persistence, Transaction
from mission_system.core.tools.catalog import ToolCatalog

from ....support.databases import CHOSEN
from ..conftest import echo

pytestmark = pytest.mark.usefixtures("tiny")

ALPHABET = "aAbB sSßẞσςΣiİıéeE\u0301\u0345한\u1112\u1161\u11ab日本語🙂👩‍💻אב%_*\"'\\-\n"
texts = st.text(st.sampled_from(ALPHABET), min_size=1, max_size=12)


@dataclass(frozen=True)
class Act:
    """`which` chooses among the sessions, or messages, that there ever were."""

    what: str
    which: int
    text: str


WHAT = (
    *("say",) * 10,
    *("edit", "delete message", "remove message"),
    *("delete session", "remove session", "index", "crash", "renew", "search", "search"),
)
acts = st.lists(
    st.builds(Act, st.sampled_from(WHAT), st.integers(0, 40), texts), min_size=20, max_size=90
)


class Failing:
    """A storage that dies after some units."""

    def __init__(self, real: Persistence, units: int) -> None:
        self._real = real
        self._units = units
        self.fetch_one = real.fetch_one
        self.fetch_all = real.fetch_all
        self.units_ended = real.units_ended

    async def write(self, unit: Any) -> Any:
        if not self._units:
            raise ConnectionError("dead")
        self._units -= 1
        return await self._real.write(unit)


@dataclass
class World:
    node: Node
    caller: Caller = field(default_factory=lambda: Caller(uuid.uuid4().hex))
    sessions: list[str] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)

    async def act(self, act: Act) -> None:
        chat, caller = self.node.chat, self.caller
        session = self.sessions[act.which % len(self.sessions)]
        message = self.messages[act.which % len(self.messages)] if self.messages else 0
        match act.what:
            case "say":
                await self.say(session, act.text)
            case "edit":
                await chat.edit_message(caller, message, act.text)
            case "delete message" | "remove message":
                await chat.delete_message(caller, message, soft=act.what.startswith("delete"))
            case "delete session" | "remove session":
                await chat.delete_session(caller, session, soft=act.what.startswith("delete"))
                await self.open()
            case "index":
                await chat.indexer.catch_up()
            case "renew":
                await chat.indexer.round()
            case "crash":
                await self.crash(act.which)
            case "search":
                await self.check(act.text[: 1 + act.which % 4])
                await self.check_pieces(act.which)

    async def open(self) -> None:
        self.sessions.append((await self.node.chat.create_session(self.caller)).session_id)

    async def say(self, session: str, text: str) -> None:
        chat = self.node.chat

        async def unit(tx: Transaction) -> int:
            found = await chat.find_session(tx, self.caller, session)
            if found is None:
                raise NotFound("session", session)
            return (await chat.insert_message(tx, found.id, None, "user", text, now()))[0]

        self.messages.append(await self.node.database.write(unit))

    async def crash(self, units: int) -> None:
        """An indexer dies in the middle of its work; another server takes it up."""
        dying = Indexer(Failing(self.node.database, units % 12))  # type: ignore[arg-type]
        await asyncio.gather(dying.catch_up(), return_exceptions=True)
        await Indexer(self.node.database).begin()

    async def check_pieces(self, which: int) -> None:
        """A piece of something that was once said."""
        for text in (await self.everything())[-3:]:
            start = which % len(text)
            await self.check(text[start : start + 1 + which % 5].swapcase())

    async def everything(self) -> list[str]:
        rows = await self.node.database.fetch_all(
            "SELECT m.content FROM message m JOIN session s ON s.id = m.session_id"
            " WHERE s.user_id = ? ORDER BY m.id",
            (self.caller.user_id,),
        )
        return [row["content"] for row in rows]

    async def check(self, query: str) -> None:
        rows = await self.node.database.fetch_all(
            "SELECT m.id, m.content FROM message m JOIN session s ON s.id = m.session_id"
            " WHERE s.user_id = ? AND m.deleted_at IS NULL ORDER BY m.id DESC",
            (self.caller.user_id,),
        )
        expected = [row["id"] for row in rows if contains(row["content"], query)]
        assert await self.found(query, Window(200)) == expected, query
        assert await self.found(query, Window(200, backward=True)) == expected, query
        paged, window = list[int](), Window(2)
        for _ in rows:
            page = await self.node.chat.search(self.caller, query, window)
            paged += [each.message.message_id for each in page.items]
            assert page.has_previous == (len(paged) > len(page.items))
            if not page.has_next:
                break
            window = Window(2, after=page.cursors[-1])
        assert paged == expected, query

    async def found(self, query: str, window: Window) -> list[int]:
        page = await self.node.chat.search(self.caller, query, window)
        return [each.message.message_id for each in page.items]


def contains(text: str, query: str) -> bool:
    if query.casefold() in text.casefold():
        return True
    return composed(query) in composed(text)


def composed(text: str) -> str:
    return normalize("NFC", normalize("NFD", text).casefold())


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def running(tiny: None, runner: asyncio.Runner, tmp_path_factory: Any) -> Iterator[Node]:
    folder: Path = tmp_path_factory.mktemp("search")
    runtime = create_mission_runtime(ToolCatalog(), settings=Settings(data=folder), use_mock=True)
    node = Node(runtime, CapabilityRegistry((OrchestratorSpec("echo", echo),)))
    runner.run(node.start())
    yield node
    runner.run(node.stop())


async def play(node: Node, chosen: list[Act]) -> None:
    world = World(node)
    await world.open()
    for act in chosen:
        try:
            await world.act(act)
        except (NotFound, Forbidden):
            continue
    for query in ("a", "ss", "日本", "%", "é"):
        await world.check(query)
    await world.check_pieces(len(chosen))


@given(chosen=acts)
def test_a_search_finds_what_a_scan_would(
    runner: asyncio.Runner, running: Node, chosen: list[Act]
) -> None:
    runner.run(play(running, chosen))


def test_searches_are_right_while_blocks_come_and_go(runner: asyncio.Runner, running: Node) -> None:
    runner.run(race(running))


async def race(node: Node) -> None:
    world = World(node)
    await world.open()
    for number in range(90):
        await world.say(world.sessions[0], f"{'Needle' if number % 4 == 0 else 'hay'} {number}")
    expected = world.messages[::4][::-1]
    worked = asyncio.Event()

    async def work() -> None:
        await node.chat.indexer.catch_up()
        for number in (1, 2, 3, 41, 42, 43, 81, 82, 83):
            await node.chat.edit_message(world.caller, world.messages[number], "more hay")
            for block in await blocks_of(node.database, world.caller):
                node.chat.indexer.wear(block)
            await node.chat.indexer.round()
        worked.set()

    async def look(window: Window, seen: list[int]) -> int:
        looked = 0
        while not worked.is_set():
            assert await world.found("needle", window) == seen
            looked += 1
        return looked

    middle = (await node.chat.search(world.caller, "needle", Window(200))).cursors[9]
    working = asyncio.create_task(work())
    looked = await asyncio.gather(
        look(Window(200), expected),
        look(Window(200, backward=True), expected),
        look(Window(200, after=middle), expected[10:]),
        look(Window(200, before=middle, backward=True), expected[:9]),
    )
    await working
    assert min(looked) > 1


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_block_that_is_replaced_under_a_search_is_not_passed_over(
    runner: asyncio.Runner, running: Node, newest_first: bool
) -> None:
    async def story() -> None:
        world = World(running)
        await world.open()
        for number in range(9):
            await world.say(world.sessions[0], f"needle {number}")
        await running.chat.indexer.catch_up()
        said = world.messages
        inside = Span(world.caller.user_id, said[1], said[7], newest_first)
        replacing = Replacing(running.database, running.chat.indexer, world.caller)
        finder = Finder(replacing, running.chat.indexer.wear)  # type: ignore[arg-type]
        rows = await finder.find(inside, [Wanted.of("needle")], 20)
        assert replacing.replaced
        assert [row["id"] for row in rows] == (said[6:1:-1] if newest_first else said[2:7])

    runner.run(story())


class Replacing:
    """A storage whose blocks are replaced, and swept away, just after postings were read."""

    def __init__(self, real: Persistence, indexer: Indexer, caller: Caller) -> None:
        self._real = real
        self._indexer = indexer
        self._caller = caller
        self.fetch_one = real.fetch_one
        self.replaced = False

    async def fetch_all(self, sql: str, params: Any = ()) -> Any:
        rows = await self._real.fetch_all(sql, params)
        if sql.startswith("WITH RECURSIVE ahead") and not self.replaced:
            self.replaced = True
            for block in await blocks_of(self._real, self._caller):
                self._indexer.wear(block)
            await self._indexer.round()
        return rows


async def blocks_of(persistence: Persistence, caller: Caller) -> list[int]:
    rows = await persistence.fetch_all(
        "SELECT id FROM search_block WHERE user_id = ? AND state = 1", (caller.user_id,)
    )
    return [row["id"] for row in rows]


def test_an_edit_waits_for_a_block_that_is_being_removed(
    runner: asyncio.Runner, running: Node
) -> None:
    async def story() -> None:
        world = World(running)
        await world.open()
        for number in range(9):
            await world.say(world.sessions[0], f"word {number}")
        await running.chat.indexer.catch_up()
        [block] = await blocks_of(running.database, world.caller)
        removed, end = asyncio.Event(), asyncio.Event()

        async def remove(tx: Transaction) -> None:
            await tx.execute("DELETE FROM search_page WHERE block_id = ?", (block,))
            await tx.execute("DELETE FROM search_block WHERE id = ?", (block,))
            removed.set()
            if CHOSEN == "postgres":  # elsewhere the edit's unit has its turn after this one
                await end.wait()

        removal = asyncio.create_task(running.database.write(remove))
        await removed.wait()
        edit = asyncio.create_task(
            running.chat.edit_message(world.caller, world.messages[4], "other")
        )
        if CHOSEN == "postgres":
            while not await waits_for_a_lock(running.database):
                await asyncio.sleep(0.01)
        end.set()
        await removal
        assert (await edit).content == "other"

    runner.run(story())


async def waits_for_a_lock(persistence: Persistence) -> bool:
    return bool(
        await persistence.fetch_all(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
    )


def test_blocks_that_lost_messages_never_make_one_too_big(
    runner: asyncio.Runner, running: Node
) -> None:
    async def story() -> None:
        world = World(running)
        await world.open()
        for number in range(54):
            await world.say(world.sessions[0], f"word {number}")
            if number % 9 == 8:
                await running.chat.indexer.catch_up()
                await running.chat.delete_message(world.caller, world.messages[-1])
        for _ in range(2):  # the second time it is known how few are left
            for block in await blocks_of(running.database, world.caller):
                running.chat.indexer.wear(block)
            await running.chat.indexer.round()
        for number in range(9):  # a small block more, and more
            await world.say(world.sessions[0], f"word {number}")
            if number % 3 == 2:
                await running.chat.indexer.catch_up()
        rows = await running.database.fetch_all(
            "SELECT size FROM search_block WHERE user_id = ? AND state = 1",
            (world.caller.user_id,),
        )
        assert max(row["size"] for row in rows) < 2 * 9
        await world.check("word 3")

    runner.run(story())


def test_an_indexer_goes_on_where_another_was_killed(runner: asyncio.Runner, running: Node) -> None:
    runner.run(killed_again_and_again(running))


async def killed_again_and_again(node: Node) -> None:
    world = World(node)
    await world.open()
    for number in range(30):
        await world.say(world.sessions[0], f"word {number}")
    units = 0
    while True:
        failing = Failing(node.database, units)
        indexer = Indexer(failing)  # type: ignore[arg-type]
        try:
            await indexer.begin()
            await indexer.catch_up()
            break
        except ConnectionError:
            assert await world.found("word", Window(200)) == world.messages[::-1]
        units += 3
    assert units > 10
    leftover = await node.database.fetch_all("SELECT id FROM search_block WHERE state = 0")
    assert leftover == []
    await world.check("word 2")


@pytest.mark.parametrize("whole_session", [True, False])
def test_what_is_removed_for_good_leaves_the_index_too(
    runner: asyncio.Runner, running: Node, whole_session: bool
) -> None:
    async def story() -> None:
        world = World(running)
        await world.open()
        await world.open()
        for number in range(11):  # nine in a block, two in the tail
            await world.say(world.sessions[number % 3 == 1], f"secret {number}")
            if number == 8:
                await running.chat.indexer.catch_up()
        await running.chat.indexer.catch_up()
        [before] = await blocks_of(running.database, world.caller)
        chat, caller = running.chat, world.caller
        if whole_session:
            await chat.delete_session(caller, world.sessions[1], soft=False)
            removed = {world.messages[number] for number in (1, 4, 7, 10)}
        else:
            removed = {world.messages[4], world.messages[10]}
            for message in removed:
                await chat.delete_message(caller, message, soft=False)
        tail = await running.database.fetch_all(
            "SELECT message_id FROM search_tail WHERE user_id = ?", (caller.user_id,)
        )
        assert [row["message_id"] for row in tail] == [world.messages[9]]
        # Another server does it, after a crash of this one.
        await Indexer(running.database).round()
        [after] = await blocks_of(running.database, world.caller)
        assert after != before
        assert set(await ids_in(running.database, after)) == set(world.messages[:9]) - removed
        old = await running.database.fetch_all(
            "SELECT 1 FROM search_page WHERE block_id = ?", (before,)
        )
        assert old == []
        await world.check("secret")

    runner.run(story())


@pytest.mark.parametrize(
    "reading", ["SELECT id, content FROM message", "SELECT id FROM message WHERE id IN"]
)
def test_what_is_removed_while_a_block_is_made_leaves_it_again(
    runner: asyncio.Runner, running: Node, reading: str
) -> None:
    """Of texts, or of other blocks."""

    async def story() -> None:
        world = World(running)
        await world.open()
        for number in range(18):
            await world.say(world.sessions[0], f"secret {number}")
        removing = Removing(running, world, reading)
        await Indexer(removing).catch_up()  # type: ignore[arg-type]
        assert removing.removed
        await Indexer(running.database).round()
        [block] = await blocks_of(running.database, world.caller)
        assert await ids_in(running.database, block) == world.messages[1:]
        await world.check("secret")

    runner.run(story())


class Removing:
    """A storage where a message is removed after the indexer has read it."""

    def __init__(self, node: Node, world: World, reading: str) -> None:
        self._node = node
        self._world = world
        self._reading = reading
        self.fetch_one = node.database.fetch_one
        self.write = node.database.write
        self.units_ended = node.database.units_ended
        self.removed = False

    async def fetch_all(self, sql: str, params: Any = ()) -> Any:
        rows = await self._node.database.fetch_all(sql, params)
        if sql.startswith(self._reading) and not self.removed:
            self.removed = True
            await self._node.chat.delete_message(
                self._world.caller, self._world.messages[0], soft=False
            )
        return rows


def test_long_messages_make_more_blocks_and_not_bigger_ones(
    runner: asyncio.Runner, running: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "SIZES", (3, 9))  # no huge ones, which are made of blocks alone

    async def story() -> None:
        world = World(running)
        await world.open()
        for number in range(12):
            await world.say(world.sessions[0], f"{number}" + "".join(map(chr, range(200, 230))))
            await running.chat.indexer.catch_up()
        await world.check("æçè")

        async def weights() -> list[int]:
            rows = await running.database.fetch_all(
                "SELECT weight FROM search_block WHERE user_id = ? AND state = 1 ORDER BY last_id",
                (world.caller.user_id,),
            )
            return [row["weight"] for row in rows]

        # A block is full with the message that makes it so, which weighs 7 for each of its grams.
        assert len(await weights()) > 1
        assert max(await weights()) < 400 * 5 / 3
        for message in world.messages:  # what was short when the block was made
            await running.chat.edit_message(
                world.caller, message, "".join(chr(300 + message % 7 * 40 + at) for at in range(40))
            )
        for block in await blocks_of(running.database, world.caller):
            running.chat.indexer.wear(block)
        await running.chat.indexer.round()
        assert max(await weights()) < 400 * 5 / 3
        await world.check(chr(310))

    runner.run(story())


def test_all_of_a_long_story_ends_up_in_few_blocks(runner: asyncio.Runner, running: Node) -> None:
    async def story() -> None:
        world = World(running)
        await world.open()
        for number in range(40):
            await world.say(world.sessions[0], f"word {number}")
            if number % 5 == 0:
                await running.chat.indexer.catch_up()
        await running.chat.indexer.catch_up()
        rows = await running.database.fetch_all(
            "SELECT size FROM search_block WHERE user_id = ? AND state = 1 ORDER BY last_id",
            (world.caller.user_id,),
        )
        tail = await running.database.fetch_all(
            "SELECT 1 FROM search_tail WHERE user_id = ?", (world.caller.user_id,)
        )
        sizes = [row["size"] for row in rows]
        assert sum(sizes) + len(tail) == 40
        assert len(tail) < 3
        assert sizes[:2] == [18, 18]
        await world.check("word 3")

    runner.run(story())


def test_an_edit_is_known_to_the_block_that_is_made_of_others(
    runner: asyncio.Runner, running: Node
) -> None:
    async def story() -> None:
        world = World(running)
        await world.open()
        for number in range(17):
            await world.say(world.sessions[0], f"word {number}")
        await running.chat.indexer.catch_up()
        edited = world.messages[4]
        await running.chat.edit_message(world.caller, edited, "needle")
        await world.say(world.sessions[0], "word 17")
        await running.chat.indexer.catch_up()
        [block] = await blocks_of(running.database, world.caller)
        assert await ids_in(running.database, block) == world.messages
        assert await world.found("needle", Window(2)) == [edited]
        assert edited not in await world.found("word", Window(200))

    runner.run(story())


def test_an_edited_message_that_is_gone_leaves_nothing_in_a_block_that_is_made_again(
    runner: asyncio.Runner, running: Node
) -> None:
    async def story() -> None:
        world = World(running)
        await world.open()
        for number in range(9):
            await world.say(world.sessions[0], f"word {number}")
        await running.chat.indexer.catch_up()
        [block] = await blocks_of(running.database, world.caller)
        await running.chat.edit_message(world.caller, world.messages[4], "other")
        await running.chat.delete_message(world.caller, world.messages[4])
        running.chat.indexer.wear(block)
        await running.chat.indexer.round()
        [again] = await blocks_of(running.database, world.caller)
        loose = await running.database.fetch_all(
            "SELECT 1 FROM search_loose WHERE block_id IN (?, ?)", (block, again)
        )
        assert loose == []
        for _ in range(3):
            await world.check("other")
            await running.chat.indexer.round()
        assert await blocks_of(running.database, world.caller) == [again]

    runner.run(story())


def test_a_block_full_of_what_is_gone_is_made_again(runner: asyncio.Runner, running: Node) -> None:
    async def story() -> None:
        world = World(running)
        await world.open()
        for _ in range(9):
            await world.say(world.sessions[0], "gone")
        await running.chat.indexer.catch_up()
        for message in world.messages[1:]:
            await running.chat.delete_message(world.caller, message, soft=message % 2 == 0)
        await world.check("gone")
        await running.chat.indexer.round()
        rows = await running.database.fetch_all(
            "SELECT b.id FROM search_block b JOIN search_page p ON p.block_id = b.id"
            " WHERE b.user_id = ? AND p.first_key < 0",
            (world.caller.user_id,),
        )
        assert len(rows) == 1
        await world.check("gone")

    runner.run(story())
