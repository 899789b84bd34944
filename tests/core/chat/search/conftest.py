"""An index of tiny blocks and pages, so that few messages make many of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mission_system.core.chat.search import (
    blocks,
    building,
    candidates,
    find,
    grams,
    indexer,
    maker,
    merging,
    pages,
    reads,
    sieve,
)

TINY = {
    blocks: {"PAGES": 2},
    building: {"HEAVY": 400, "PARTS": 3},
    candidates: {"UNITED": 2, "ENOUGH": 2},
    find: {
        "TAIL": 2,
        "MANY": 3,
        "GROUPS": (3, 20),
        "EDITED": 1,
        "JUDGED": 3,
        "GONE": 1,
        "FIRST": 2,
        "MOST": 4,
    },
    grams: {"MOST": 3, "PIECE": 5},
    indexer: {
        "SMALL": 3,
        "BIG": 9,
        "SIZES": (3, 9, 18),
        "EDITED": 1,
        "HEAVY": 400,
        "NOTED": 4,
        "TOGETHER": 2,
        "WAITING": 1,
        "ROUND_SECONDS": 3600.0,
    },
    maker: {"READ": 2, "LOOKED_UP": 4, "PAGES": 2},
    merging: {"READ": 2, "TOGETHER": 3},
    pages: {"FULL": 60, "IDS": 2},
    reads: {"AT_MOST": 5, "SIZES": (1, 2, 3)},
    sieve: {"FIRST": 2, "MOST": 4, "STEP": 2},
}


@pytest.fixture(scope="module")
def tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module, numbers in TINY.items():
            for name, number in numbers.items():
                patch.setattr(module, name, number)
        yield
