"""What cannot be stored is refused where it is said, and never costs the process its outcome."""

from __future__ import annotations

import asyncio
import functools
import gc
import weakref
from typing import Any

import pytest

from mission_system.core.capabilities import OrchestratorSpec, Reply
from mission_system.core.errors import InvalidInput
from mission_system.core.tower.codec import (
    NotEncodable,
    StepError,
    declared_return,
    decode_error,
    encode_error,
)
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Outcome, ProcessState


def test_error_whose_text_no_database_can_hold_comes_back_repaired() -> None:
    error = decode_error(encode_error("read", ValueError("half\ud800 and nul\0")))
    assert isinstance(error, StepError)
    assert (error.type, error.text) == ("ValueError", "half\ufffd and nul\ufffd")


def test_function_is_not_kept_alive_by_what_it_is_declared_to_return() -> None:
    def work() -> int:
        return 1

    assert declared_return(work) is int
    left = weakref.ref(work)
    del work
    gc.collect()
    assert left() is None


class Unhashable:
    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> int:
        return 1


def test_any_callable_may_be_a_step() -> None:
    for callable in ([].append, Unhashable(), functools.partial(int, "1")):
        declared_return(callable)


def not_a_number() -> float:
    return float("nan")


async def test_value_that_does_not_come_back_is_an_error_of_its_step(start_node, send) -> None:
    async def work(mission: Mission) -> str:
        with pytest.raises(StepError, match=r"NotEncodable.*'measure'"):
            await mission.step("measure", not_a_number)
        return "handled"

    assert (await send(await start_node(work))).reply == "handled"


async def test_output_that_no_longer_fits_blocks_the_process(start_node, send, ann) -> None:
    def spec(make: Any) -> OrchestratorSpec:
        async def work(mission: Mission) -> str:
            return f"{await mission.step('make', make)} {await mission.clarify('?')}"

        return OrchestratorSpec("work", work)

    def text() -> str:
        return "seven"

    def number() -> int:
        return 7

    node = await start_node(spec(text))
    process = await send(node)
    await node.stop()
    node = await start_node(spec(number))
    process = await node.tower.resume_request(ann, process.pending.id, "x", wait=10)
    assert (process.state, process.reason) == (ProcessState.BLOCKED, "diverged")
    assert "'make'" in (process.error or "")


HALF = "half\ud800"


async def bad_step(mission: Mission) -> None:
    await mission.step(HALF, asyncio.sleep, 0)


async def bad_stage(mission: Mission) -> None:
    async with mission.stage("x" * 256):
        pass


async def bad_event(mission: Mission) -> None:
    await mission.emit("found", {"what": object()})


async def bad_option(mission: Mission) -> None:
    await mission.clarify("which?", options=["fine", HALF])


async def bad_tool(mission: Mission) -> None:
    await mission.tools.call("nul\0")


@pytest.mark.parametrize("bad", [bad_step, bad_stage, bad_event, bad_option, bad_tool])
async def test_what_cannot_be_stored_is_refused_at_its_call(start_node, send, bad: Any) -> None:
    async def work(mission: Mission) -> str:
        with pytest.raises((InvalidInput, NotEncodable)):
            await bad(mission)
        return await mission.step("after", asyncio.sleep, 0, "all is well")

    process = await send(await start_node(work))
    assert (process.reply, process.error) == ("all is well", None)


async def test_data_of_a_reply_is_json_or_the_reply_is_refused(start_node, send) -> None:
    async def work(mission: Mission) -> Reply:
        return Reply("done", {"n": {1: 2}} if mission.message == "good" else {"n": {1, 2}})

    node = await start_node(work)
    assert (await send(node, "good")).outcome is Outcome.COMPLETED
    bad = await send(node, "bad")
    assert (bad.outcome, bad.reason) == (Outcome.FAILED, "not_encodable")
    assert "the reply's data" in (bad.error or "")
