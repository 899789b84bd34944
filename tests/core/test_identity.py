"""Ids: in order of their making, and not to be guessed."""

from __future__ import annotations

import threading
import time
import uuid

import pytest

from mission_system.core import identity
from mission_system.core.identity import new_id


@pytest.fixture(autouse=True)
def own_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made here in the future stays here."""
    monkeypatch.setattr(identity, "_IDS", identity._Ids())


def test_ids_are_uuids_of_version_7_and_of_now() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 1000


def test_ids_ascend_within_a_millisecond_and_past_a_full_counter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = time.time_ns() + 10**12
    monkeypatch.setattr(identity.time, "time_ns", lambda: at)
    ids = [new_id() for _ in range(10_000)]
    assert ids == sorted(set(ids))
    assert {uuid.UUID(id).version for id in ids} == {7}


def test_ids_ascend_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    at = time.time_ns()
    monkeypatch.setattr(identity.time, "time_ns", lambda: at + 10**13)
    ahead = new_id()
    monkeypatch.setattr(identity.time, "time_ns", lambda: at)
    assert new_id() > ahead


def test_ids_made_in_threads_are_unique_and_ascend_in_each() -> None:
    made: list[list[str]] = [[] for _ in range(8)]

    def make(mine: list[str]) -> None:
        mine.extend(new_id() for _ in range(2000))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({id for mine in made for id in mine}) == 16_000


def test_the_end_of_an_id_cannot_be_guessed() -> None:
    tails = {uuid.UUID(new_id()).int & (1 << 62) - 1 for _ in range(1000)}
    assert len(tails) == 1000
