"""Searching: literal, bounded, and knowing what a name is on its line."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from mission_code_analysis.results import Matches
from mission_code_analysis.source import python
from mission_code_analysis.source.search import Order, search_code
from mission_code_analysis.source.tree import SourceTree
from mission_code_analysis.tools import make_tools

from mission_system import InvalidInput

from .conftest import MakeTree


def search(
    tree: SourceTree,
    query: str,
    *,
    whole_word: bool = False,
    ignore_case: bool = False,
    order: Order = "path",
    limit: int = 100,
) -> Matches:
    return search_code(tree, query, "", whole_word, ignore_case, order, limit)


@pytest.mark.parametrize("query", ["a.b", "(x+x+)+y", "[", "\\", "$^", "*", "%", "'; --"])
def test_a_query_is_taken_literally(make_tree: MakeTree, query: str) -> None:
    tree = make_tree({"a.txt": f"one\nbefore {query} after\nacb xxxx\n"})
    found = search(tree, query)
    assert [(match.line, match.text) for match in found.matches] == [(2, f"before {query} after")]


def test_a_query_made_to_backtrack_costs_nothing(make_tree: MakeTree) -> None:
    tree = make_tree({"a.py": "x" * 300_000 + "\n"})
    started = time.monotonic()
    assert search(tree, "(x+x+)+y", whole_word=True).total == 0
    assert time.monotonic() - started < 2


def test_every_match_can_be_read_back_at_its_line(make_tree: MakeTree) -> None:
    content = "\ufeffneedle\r\n\x0cneedle \u2028 needle\rneedle\n\nneedle"
    tree = make_tree({"a.py": content.encode(), "b.txt": b"caf\xe9 needle"})
    for match in search(tree, "needle").matches:
        source = tree.read(tree.locate(match.path))
        assert "needle" in match.text
        assert source.lines[match.line - 1] == match.text
    assert [match.line for match in search(tree, "needle").matches] == [1, 2, 3, 5, 1]


@pytest.mark.parametrize(
    ("query", "text", "found"),
    [
        ("take", "take(", True),
        ("take", "taken", False),
        ("take", "_take", False),
        ("take", "mistake", False),
        ("größe", "größe = 1", True),
        ("größ", "größe = 1", False),
        ("$x", "a $x b", True),
    ],
)
def test_whole_words_are_those_of_every_alphabet(
    make_tree: MakeTree, query: str, text: str, found: bool
) -> None:
    tree = make_tree({"a.txt": text})
    assert bool(search(tree, query, whole_word=True).total) is found


def test_case_counts_unless_told_otherwise(make_tree: MakeTree) -> None:
    tree = make_tree({"a.txt": "Größe\nGRÖSSE\ngröße\n"})
    assert search(tree, "größe").total == 1
    assert search(tree, "größe", ignore_case=True).total == 2


def test_many_matches_are_counted_but_not_all_listed(make_tree: MakeTree) -> None:
    tree = make_tree({f"{n:02}.txt": "needle\n" * 10 for n in range(10)})
    found = search(tree, "needle", limit=15)
    assert (len(found.matches), found.total, found.files) == (15, 100, 10)
    assert found.cut == "15 of 100 lines are listed"
    assert [(m.path, m.line) for m in found.matches][9:11] == [("00.txt", 10), ("01.txt", 1)]


def test_long_lines_are_cut(make_tree: MakeTree) -> None:
    tree = make_tree({"a.js": "needle" + "x" * 100_000}, max_line_chars=200)
    assert len(search(tree, "needle").matches[0].text) == 200


PYTHON: Mapping[str, str] = {
    "lib.py": '''\
"""Thing is spoken of here."""
from a import Thing
from a import (
    Other,
    Thing as Renamed,
)
import b.Thing

class Thing:
    pass

def use(arg: Thing, Thing=None) -> "Thing":
    # Thing in a comment
    text = "Thing in a text"
    Thing()
    arg.Thing.x
    call(Thing=1)
    return (
        arg
        .Thing
    )

Thing = 3
'''
}


def test_each_line_says_what_the_name_is_on_it(make_tree: MakeTree) -> None:
    found = search(make_tree(PYTHON), "Thing", whole_word=True)
    assert {match.line: match.role for match in found.matches} == {
        1: "mention",
        2: "import",
        5: "import",
        7: "import",
        9: "definition",
        12: "use",
        13: "mention",
        14: "mention",
        15: "use",
        16: "use",
        17: "use",
        20: "use",
        23: "definition",
    }
    assert {match.within for match in found.matches if match.line > 12} == {"use", ""}


def test_an_import_says_where_the_name_comes_from(make_tree: MakeTree) -> None:
    tree = make_tree({"a.py": "from ..core.lease import Lease\n\nLease()\n"})
    assert {match.origin for match in search(tree, "Lease").matches} == {"..core.lease"}


def test_python_that_does_not_parse_is_still_searched(make_tree: MakeTree) -> None:
    tree = make_tree({"a.py": "class Thing:\n    def (\nfrom x import Thing\nThing()\n"})
    roles = [match.role for match in search(tree, "Thing").matches]
    assert roles == ["definition", "import", "use"]


def test_python_too_large_to_parse_is_searched_by_its_looks_and_says_so(
    make_tree: MakeTree,
) -> None:
    tree = make_tree(
        {"a.py": "class Thing: ...\nThing()\nx = " + "f'{x}' " * 400, "b.py": "Thing\n"}
    )
    found = search(tree, "Thing")
    assert [match.role for match in found.matches] == ["definition", "use", "use"]
    assert found.unseen == "files too large to parse, known by the look of their lines: 1"


@pytest.mark.parametrize("step", ["parse", "outline"])
def test_a_file_that_takes_too_long_to_parse_is_the_last(
    make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    tree = make_tree({"a.py": "Thing()\n", "b.py": "Thing()\n"}, max_seconds=30)
    done, late, called = getattr(python, step), time.monotonic() + 3600, []

    def slow(*arguments: Any) -> Any:
        called.append(step)
        monkeypatch.setattr(time, "monotonic", lambda: late)
        return done(*arguments)

    monkeypatch.setattr(python, step, slow)
    monkeypatch.setattr(python, "roles", pytest.fail)
    found = search(tree, "Thing")
    assert (found.matches, found.unseen, called) == ((), "stopped after 30 seconds", [step])


def test_by_relevance_the_definition_comes_first_and_part_of_a_word_last(
    make_tree: MakeTree,
) -> None:
    tree = make_tree(
        {
            "a.py": "value = release_all_of_them()\n",
            "lease.py": "class Lease:\n    pass\n",
            "tests/test_lease.py": "lease = Lease_for_a_test()\n",
            "z.py": "def main(): take(the=lease)\n",
        }
    )
    found = search(tree, "lease", ignore_case=True, order="relevance", limit=3)
    assert [match.path for match in found.matches] == ["lease.py", "z.py", "tests/test_lease.py"]


def test_machine_made_lines_are_the_last_that_are_relevant(make_tree: MakeTree) -> None:
    tree = make_tree({"lease.min.js": f"lease{'x' * 400}\n", "z.py": "call(lease)\n"})
    found = search(tree, "lease", order="relevance")
    assert [match.path for match in found.matches] == ["z.py", "lease.min.js"]


def test_a_query_of_several_lines_is_refused(make_tree: MakeTree) -> None:
    tools = {spec.name: spec for spec in make_tools(make_tree({}))}
    with pytest.raises(InvalidInput, match="one line"):
        tools["search_code"]("a\nb")
