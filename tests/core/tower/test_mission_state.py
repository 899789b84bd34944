"""`mission.state`: kept from message to message, seen again on replay, typed, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import InvalidInput, NotFound, QuotaExceeded
from mission_system.core.identity import Caller
from mission_system.core.memory import working
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tower.codec import NotEncodable
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Outcome


class Mood(StrEnum):
    GOOD = "good"
    BAD = "bad"


class Topic(BaseModel):
    name: str
    weight: Decimal = Decimal(1)


class Notes(BaseModel):
    topic: Topic | None = None
    moods: tuple[Mood, ...] = ()
    since: datetime
    count: int = Field(default=0, ge=0, le=10)
    large: int = 1
    ratio: float | None = None


async def counts(mission: Mission) -> str:
    count = await mission.state.get("count", 0) + 1
    await mission.state.set("count", count)
    return str(count)


async def test_what_one_process_writes_the_next_of_the_session_reads(start_node, send, ann) -> None:
    node = await start_node(counts)
    session = (await node.chat.create_session(ann)).session_id
    replies = [(await send(node, session_id=session)).reply for _ in range(3)]
    assert replies == ["1", "2", "3"]
    assert (await send(node)).reply == "1"  # another session
    (entry,) = await node.working_memory.entries(ann, session)
    assert (entry.capability, entry.key, entry.value) == ("counts", "count", 3)


async def test_capabilities_do_not_see_each_others_keys(start_node, send, ann) -> None:
    async def other(mission: Mission) -> str:
        return str(await mission.state.all())

    node = await start_node(counts, other)
    session = (await send(node)).session_id
    assert (await send(node, session_id=session, capability="other")).reply == "{}"


async def test_state_of_another_users_session_is_not_found(start_node, send) -> None:
    node = await start_node(counts)
    session = (await send(node)).session_id
    with pytest.raises(NotFound):
        await node.working_memory.entries(Caller("bob"), session)


async def test_keys_are_deleted_and_listed_and_set_together(start_node, send) -> None:
    async def work(mission: Mission) -> str:
        state = mission.state
        await state.update({"b": [1, {"x": None}], "a": "text", "c": 2.5})
        await state.delete("c")
        await state.delete("never there")
        assert await state.all() == {"a": "text", "b": [1, {"x": None}]}
        assert await state.get("c") is None
        assert await state.get("c", "other") == "other"
        return "done"

    process = await send(await start_node(work))
    assert process.reply == "done", process.error


async def test_write_is_told_with_its_keys_and_without_its_values(start_node, send, told) -> None:
    async def work(mission: Mission) -> str:
        await mission.state.update({"a": "secret", "b": 1})
        return "done"

    node = await start_node(work)
    events = await told(node, await send(node))
    (changed,) = [event for event in events if event.type == "state.changed"]
    assert changed.payload == {"step": "0", "capability": "work", "keys": ["a", "b"]}


@pytest.mark.parametrize("stopped_at", range(5))
async def test_replay_sees_what_was_seen_and_writes_nothing_again(
    start_node, send, ann, stopped_at: int
) -> None:
    """The server stops at each point in turn; another process changes the key meanwhile."""
    gate = asyncio.Event()
    seen: list[tuple[Any, ...]] = []

    async def work(mission: Mission) -> str:
        async def wait(here: int) -> None:
            if here == stopped_at:
                await gate.wait()

        got: list[Any] = []
        await mission.step("wait", wait, 0)
        got.append(await mission.state.get("k"))
        await mission.step("wait", wait, 1)
        await mission.state.set("k", "mine")
        await mission.step("wait", wait, 2)
        got.append(await mission.state.get("k"))
        await mission.step("wait", wait, 3)
        got.append(await mission.state.all())
        await mission.step("wait", wait, 4)
        seen.append(tuple(got))
        return "done"

    node = await start_node(work, shutdown_seconds=0)
    session = (await node.chat.create_session(ann)).session_id
    process = await send(node, session_id=session, wait=None)
    async with asyncio.timeout(10):
        while len(await node.tower.steps(ann, process.pid)) < 2 * stopped_at:
            await asyncio.sleep(0.01)
    await node.stop()

    async def meddle(tx: Transaction) -> None:
        row = await tx.fetch_one("SELECT id FROM session WHERE public_id = ?", (session,))
        assert row is not None
        await working.store_values(tx, row["id"], "work", {"k": '"theirs"'}, 1)

    await node.database.open()
    await node.database.write(meddle)
    await node.database.close()
    gate.set()
    node = await start_node(work)
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.reply == "done", process.error
    first = "theirs" if stopped_at == 0 else None
    second = "theirs" if stopped_at == 2 else "mine"
    third = {"k": "theirs" if stopped_at in (2, 3) else "mine"}
    assert seen == [(first, second, third)]
    (entry,) = await node.working_memory.entries(ann, session)
    assert entry.value == ("mine" if stopped_at in (0, 1) else "theirs")


async def test_values_come_back_as_the_declared_types(start_node, send) -> None:
    topic = Topic(name="tea", weight=Decimal("0.10"))
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    async def work(mission: Mission) -> str:
        state = mission.state
        assert await state.get("count") == 0
        assert await state.get("since") is None
        assert await state.get("moods") == ()
        await state.update({"topic": {"name": "tea", "weight": "0.10"}, "moods": ["good", "bad"]})
        await state.set("since", since)
        await state.set("large", 10**40)
        assert await state.all() == {
            "topic": topic,
            "moods": (Mood.GOOD, Mood.BAD),
            "since": since,
            "large": 10**40,
        }
        assert await state.get("topic") == topic
        assert await state.get("large") == 10**40
        return "done"

    process = await send(await start_node(OrchestratorSpec("work", work, state=Notes)))
    assert process.reply == "done", process.error


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("topics", "tea", "state.topics"),
        ("count", "many", "state.count"),
        ("count", 11, "state.count"),
        ("topic", {"weight": 1}, "state.topic.name"),
        ("moods", ["glad"], "state.moods.0"),
        ("ratio", float("inf"), "state.ratio"),
    ],
)
async def test_what_does_not_fit_the_declared_model_is_refused_by_name(
    start_node, send, key: str, value: Any, field: str
) -> None:
    refused: list[str] = []

    async def work(mission: Mission) -> str:
        try:
            await mission.state.set(key, value)
        except InvalidInput as error:
            refused.append(error.field)
        return str(await mission.state.all())

    process = await send(await start_node(OrchestratorSpec("work", work, state=Notes)))
    assert (refused, process.reply) == ([field], "{}")


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("", 1, "key"),
        ("k" * 101, 1, "key"),
        ("nul\x00", 1, "key"),
        ("k", object(), "state.k"),
        ("k", None, None),
        ("k", float("nan"), "state.k"),
        ("k", {"of": [1.5, float("inf")]}, "state.k"),
        ("k", "x" * 65_535, "state.k"),
        ("k", "x" * 65_534, None),
        ("k", "\ud800", "state.k"),
    ],
)
async def test_keys_and_values_are_bounded(
    start_node, send, key: str, value: Any, field: str | None
) -> None:
    refused: list[str] = []

    async def work(mission: Mission) -> str:
        try:
            await mission.state.set(key, value)
        except InvalidInput as error:
            refused.append(error.field)
        return "done"

    process = await send(await start_node(work))
    assert (refused, process.reply) == ([field] if field else [], "done"), process.error


async def test_number_of_keys_is_bounded_for_the_session(
    start_node, send, ann, monkeypatch
) -> None:
    monkeypatch.setattr(working, "MAX_KEYS", 3)

    async def work(mission: Mission) -> str:
        await mission.state.update({key: 1 for key in mission.message})
        return "done"

    node = await start_node(work, OrchestratorSpec("second", work))
    session = (await node.chat.create_session(ann)).session_id
    assert (await send(node, "abc", session_id=session)).reply == "done"
    assert (await send(node, "cb", session_id=session)).reply == "done"
    for message, capability in (("d", "work"), ("a", "second")):
        process = await send(node, message, session_id=session, capability=capability)
        assert (process.outcome, process.reason) == (Outcome.FAILED, "max_state_keys_exceeded")
    assert len(await node.working_memory.entries(ann, session)) == 3


async def test_number_of_keys_is_bounded_for_branches_too(
    start_node, send, ann, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "MAX_KEYS", 3)
    runs: list[list[str]] = []

    async def work(mission: Mission) -> str:
        async def keep(key: str) -> str:
            try:
                await mission.state.set(key, 1)
            except QuotaExceeded as error:
                return error.reason
            return "kept"

        kept = await mission.gather(*map(keep, "abcde"))
        runs.append(kept)
        return f"{await mission.clarify('more?')} {list(await mission.state.all())}"

    node = await start_node(work)
    process = await send(node)
    assert len(await node.working_memory.entries(ann, process.session_id)) == 3
    steps = await node.tower.steps(ann, process.pid)
    assert [step.status for step in steps].count("failed") == 2
    fork = await node.tower.fork_process(ann, process.pid, steps=5)
    assert len(await node.working_memory.entries(ann, fork.session_id)) == 3
    await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert sorted(runs[0]) == ["kept"] * 3 + ["max_state_keys_exceeded"] * 2
    assert runs == [runs[0]] * len(runs)


async def test_value_that_a_newer_model_does_not_know_says_so(start_node, send, ann) -> None:
    class Newer(BaseModel):
        count: list[int] = []

    async def reads(mission: Mission) -> str:
        try:
            return str(await mission.state.get("count"))
        except NotEncodable as error:
            return error.message

    async def writes(mission: Mission) -> str:
        await mission.state.set("count", 1)
        await mission.state.set("gone", 1)
        return "done"

    node = await start_node(OrchestratorSpec("work", writes))
    session = (await send(node)).session_id
    await node.stop()
    node = await start_node(OrchestratorSpec("work", reads, version=2, state=Newer))
    reply = (await send(node, session_id=session)).reply
    assert "working memory holds as 'count' is not of its declared type" in reply


async def test_last_of_two_writers_at_the_same_time_wins(start_node, send, ann) -> None:
    async def work(mission: Mission) -> str:
        async def write(value: str) -> None:
            await mission.state.set("k", value)

        await mission.gather(write("a"), write("b"))
        return str(await mission.state.get("k"))

    node = await start_node(work)
    process = await send(node)
    (entry,) = await node.working_memory.entries(ann, process.session_id)
    assert process.reply == entry.value
    assert entry.value in ("a", "b")


class Even(BaseModel):
    n: int = 0
    word: str = ""

    @field_validator("n", mode="before")
    @classmethod
    def counted(cls, value: Any) -> Any:
        return len(value) if isinstance(value, list) else value

    @field_validator("n")
    @classmethod
    def even(cls, value: int, info: ValidationInfo) -> int:
        if value % 2:
            raise ValueError(f"{info.field_name} is odd")
        return value

    @field_validator("*", mode="wrap")
    @classmethod
    def small(cls, value: Any, inner: Callable[[Any], Any]) -> Any:
        result = inner(value)
        if len(str(result)) > 3:
            raise ValueError("too long")
        return result


async def test_validators_of_the_declared_model_are_asked(start_node, send) -> None:
    async def work(mission: Mission) -> str:
        refused: list[str] = []
        for key, value in (("n", 3), ("n", 10_000), ("word", "long"), ("n", [1, 2]), ("word", "a")):
            try:
                await mission.state.set(key, value)
            except InvalidInput as error:
                refused.append(error.field)
        return f"{refused} {await mission.state.all()}"

    process = await send(await start_node(OrchestratorSpec("work", work, state=Even)))
    assert process.reply == "['state.n', 'state.n', 'state.word'] {'n': 2, 'word': 'a'}"


def test_validator_of_a_whole_model_is_refused() -> None:
    class Whole(BaseModel):
        n: int = 0

        @model_validator(mode="after")
        def check(self) -> Whole:
            return self

    with pytest.raises(ValueError, match="has a model validator"):
        OrchestratorSpec("work", counts, state=Whole)


def test_declaring_something_else_than_a_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no pydantic model"):
        OrchestratorSpec("work", counts, state=dict)  # type: ignore[arg-type]
