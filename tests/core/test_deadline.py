"""What is not ours is called within a time, whatever it does with its cancellation."""

from __future__ import annotations

import asyncio

import pytest

from mission_system.core import deadline as subject
from mission_system.core.deadline import Bounded


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "GRACE_SECONDS", 0.01)


async def test_it_gives_what_is_given_and_raises_what_is_raised() -> None:
    async def gives() -> int:
        return 7

    async def raises() -> int:
        raise OSError("gone")

    async def cancels_itself() -> int:
        raise asyncio.CancelledError

    assert await Bounded(gives).within(30) == 7
    with pytest.raises(OSError, match="gone"):
        await Bounded(raises).within(30)
    with pytest.raises(RuntimeError, match="from within"):
        await Bounded(cancels_itself).within(30)


async def test_a_call_that_ignores_its_cancellation_is_left_alone_and_not_repeated() -> None:
    begun = 0
    go = asyncio.Event()

    async def stubborn() -> int:
        nonlocal begun
        begun += 1
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue
        return 7

    bounded = Bounded(stubborn)
    async with asyncio.timeout(30):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await bounded.within(0.01)
        assert begun == 1
        go.set()
        while True:  # until the one that was left has ended
            try:
                assert await bounded.within(30) == 7
                break
            except TimeoutError:
                await asyncio.sleep(0)


async def test_who_is_cancelled_takes_the_call_along() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    caller = asyncio.create_task(Bounded(waits).within(60))
    async with asyncio.timeout(30):
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
    assert ended.is_set()
