"""The table of transitions."""

from __future__ import annotations

import itertools

import pytest

from mission_system.core.tower.lifecycle import TRANSITIONS, IllegalTransition, check
from mission_system.core.tower.process import ProcessState as S


def test_every_state_has_its_line_in_the_table() -> None:
    assert set(TRANSITIONS) == set(S)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(S, S)))
def test_only_listed_transitions_are_legal(before: S, after: S) -> None:
    if after in TRANSITIONS[before]:
        check(before, after)
    else:
        with pytest.raises(IllegalTransition, match=f"{before} -> {after}"):
            check(before, after)


def test_anything_alive_may_be_ended_and_nothing_ended_comes_back() -> None:
    for state in set(S) - {S.TERMINATED, S.ZOMBIE}:
        assert S.TERMINATED in TRANSITIONS[state]
    assert TRANSITIONS[S.TERMINATED] == {S.ZOMBIE}
    assert TRANSITIONS[S.ZOMBIE] == set()
