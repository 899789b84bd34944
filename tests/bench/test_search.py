"""The bench of searching runs, and measures searches that find what they should."""

from __future__ import annotations

import importlib.util
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest

from mission_system.core.chat.service import MAX_QUERY
from mission_system.core.storage.persistence import Row

BENCH = Path(__file__).parents[2] / "bench" / "search.py"
MESSAGES = 50_000
SEARCHES = 2  # of a kind
SAMPLE = 3  # queries of a kind that are compared with a scan
PAGE = 50


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_search", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the names of their types
    spec.loader.exec_module(module)
    return module


def scanned(messages: list[Row], query: str) -> list[int]:
    """The newest messages that contain a text, by looking at each of them."""
    text = query.casefold()
    found = (row["id"] for row in messages if text in row["content"].casefold())
    return list(islice(found, PAGE))


@pytest.mark.sqlite
@pytest.mark.timeout(900)
async def test_every_kind_of_query_is_measured_and_finds_what_a_scan_finds(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    author = bench.Author(bench.SEED)
    kinds = bench.queries(author)
    async with bench.stocked(author, MESSAGES) as (database, chat):
        times = await bench.search_times(chat, author, SEARCHES)
        messages = await database.fetch_all(
            "SELECT id, content FROM message ORDER BY created_at DESC, id DESC"
        )
        assert len(messages) >= MESSAGES
        blocks = await database.fetch_all("SELECT size FROM search_block WHERE state = 1")
        assert sum(block["size"] for block in blocks) > MESSAGES - 1000
        hits = dict.fromkeys(kinds, 0)
        for kind, texts in kinds.items():
            for query in islice(texts, SAMPLE):
                assert len(query) <= MAX_QUERY
                expected = scanned(messages, query)
                page = await chat.search(bench.ANN, query)
                assert [found.message.message_id for found in page.items] == expected, query
                hits[kind] += len(expected)
    assert list(times) == list(kinds)
    assert all(0 < each.p50 <= each.p99 for each in times.values())
    report = capsys.readouterr().out
    assert f"{MESSAGES:,} messages" in report
    assert "indexed in" in report
    for kind in kinds:
        assert f"\n{kind} " in report
    assert hits["not there"] == 0
    assert hits["most common word"] == hits["one letter"] == SAMPLE * PAGE
    assert hits["word"] > 0
