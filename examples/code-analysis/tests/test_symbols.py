"""Definitions: exact lines, by any part of a dotted name, in several languages."""

from __future__ import annotations

import ast
import gc
import threading
import time
from collections.abc import Mapping
from difflib import get_close_matches

import pytest
from mission_code_analysis.results import Symbols
from mission_code_analysis.source import python, symbols
from mission_code_analysis.source.symbols import MAX_CANDIDATES, find_symbol, outline, similar
from mission_code_analysis.source.tree import Source, SourceTree

from .conftest import MakeTree

PYTHON = '''\
#!/usr/bin/env python
"""
A module whose text begins late.
"""
from typing import TypedDict

LIMIT: int = 3
first, (second, third) = 1, (2, 3)


@decorated(
    with_an=argument,
)
class Café(TypedDict, total=False):
    """Serves coffee."""

    size: int
    cups = 3

    @property
    def open(self) -> bool:
        """Whether it is open."""
        local = 1

        def inner() -> None: ...

        return True

    class Table:
        async def wipe(self) -> None: ...


if LIMIT:
    try:
        def maybe() -> None: ...
    except ImportError:
        maybe = None
for each in ():
    pass
'''


def find(tree: SourceTree, name: str = "", path: str = "", kind: str = "") -> Symbols:
    return find_symbol(tree, name, path, kind, 100)


def test_python_is_outlined_with_exact_lines(make_tree: MakeTree) -> None:
    symbols = find(make_tree({"cafe.py": PYTHON}), path="cafe.py").symbols
    assert [(symbol.line, symbol.kind, symbol.qualname) for symbol in symbols] == [
        (1, "module", "cafe"),
        (7, "variable", "LIMIT"),
        (8, "variable", "first"),
        (14, "class", "Café"),
        (17, "attribute", "Café.size"),
        (18, "attribute", "Café.cups"),
        (21, "method", "Café.open"),
        (25, "function", "Café.open.inner"),
        (29, "class", "Café.Table"),
        (30, "method", "Café.Table.wipe"),
        (35, "function", "maybe"),
        (37, "variable", "maybe"),
    ]
    lines = PYTHON.split("\n")
    for symbol in symbols:
        assert symbol.text == lines[symbol.line - 1]
        if symbol.kind != "module":
            assert symbol.name in symbol.text
        if symbol.doc:
            assert symbol.doc in lines[symbol.doc_line - 1]
    assert (symbols[0].doc, symbols[0].doc_line) == ("A module whose text begins late.", 3)
    assert (symbols[3].end_line, symbols[3].doc) == (30, "Serves coffee.")


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("wipe", [30]),
        ("Table.wipe", [30]),
        ("Café.Table.wipe", [30]),
        ("cafe.Café.Table.wipe", [30]),
        ("shop.cafe.Café", [14]),
        ("able.wipe", []),
        ("maybe", [35, 37]),
        ("local", []),
        ("cafe", [1]),
        ("café", [14]),
    ],
)
def test_a_name_may_carry_the_names_around_it(
    make_tree: MakeTree, name: str, lines: list[int]
) -> None:
    tree = make_tree({"shop/cafe.py": PYTHON})
    assert [symbol.line for symbol in find(tree, name).symbols] == lines


def test_a_package_is_found_by_the_name_of_its_folder(make_tree: MakeTree) -> None:
    tree = make_tree({"core/tower/__init__.py": '"""The tower."""\n'})
    for name in ("tower", "core.tower"):
        [symbol] = find(tree, name).symbols
        assert (symbol.kind, symbol.qualname, symbol.line) == ("module", "tower", 1)


def test_exact_case_wins_over_any_case(make_tree: MakeTree) -> None:
    tree = make_tree({"a.py": "class Order: ...\n", "b.py": "def order(): ...\n"})
    assert [symbol.path for symbol in find(tree, "order").symbols] == ["b.py"]
    assert [symbol.path for symbol in find(tree, "ORDER").symbols] == ["a.py", "b.py"]


def test_code_comes_before_its_tests_and_classes_before_attributes(make_tree: MakeTree) -> None:
    tree = make_tree(
        {
            "tests/test_a.py": "class Order: ...\n",
            "b.py": "class Shop:\n    Order = 1\n",
            "c.py": "class Order: ...\n",
        }
    )
    paths = [symbol.path for symbol in find(tree, "Order").symbols]
    assert paths == ["c.py", "b.py", "tests/test_a.py"]


def test_long_lines_and_names_are_bounded(make_tree: MakeTree) -> None:
    text = f'x = "{"y" * 1900}"\n{"z" * 1900} = 1\ndef f():\n    """{"d" * 1900}"""\n'
    found = find(make_tree({"a.py": text}), path="a.py")
    assert [symbol.name for symbol in found.symbols] == ["a", "x", "f"]
    assert max(len(symbol.model_dump_json()) for symbol in found.symbols) < 1000


def test_an_edit_of_the_same_size_within_the_same_tick_is_seen(make_tree: MakeTree) -> None:
    tree = make_tree({"a.py": "one = 1\n"})
    assert find(tree, "one").total == 1
    (tree.root / "a.py").write_text("two = 1\n")
    assert find(tree, "one").total == 0
    assert find(tree, "two").total == 1


def test_an_unknown_name_gets_the_nearest_ones(make_tree: MakeTree) -> None:
    tree = make_tree({"a.py": "class ControlTower: ...\nclass Session: ...\n"})
    assert find(tree, "Sesion").nearest == ("Session",)
    assert find(tree, "Tower").nearest == ("ControlTower",)
    assert find(tree, "xyzzy").nearest == ()
    assert similar("", ["a", "b"]) == ()


def test_of_very_many_names_only_the_most_likely_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[int] = []

    def spy(word: str, names: list[str], n: int, cutoff: float) -> list[str]:
        compared.append(len(names))
        return get_close_matches(word, names, n, cutoff)

    monkeypatch.setattr(symbols, "get_close_matches", spy)
    names = [f"s{a}{number:04}" for a in "abcdef" for number in range(1000)]
    assert similar("sesion", [*names, "session"]) == ("session",)
    assert similar("sesion", ["session", *reversed(names)]) == ("session",)
    assert compared == [MAX_CANDIDATES, MAX_CANDIDATES]


def test_long_names_are_not_compared_letter_by_letter() -> None:
    assert similar("ab" * 39 + "x", ["ab" * 40]) == ("ab" * 40,)
    assert similar("ab" * 40 + "x", ["ab" * 41]) == ()


def test_a_definition_that_takes_too_long_to_find_ends_the_search(
    make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree({"a.py": "one = 1\n", "b.py": "one = 1\n"}, max_seconds=30)
    late = time.monotonic() + 3600

    def slow(source: Source) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: late)

    monkeypatch.setattr(python, "parse", slow)
    monkeypatch.setattr(python, "outline", pytest.fail)
    found = find(tree, "one")
    assert (found.total, found.unseen) == (0, "stopped after 30 seconds")


@pytest.mark.parametrize(
    "text",
    [
        "class Thing: ...\n" + "# a comment\n" * 20_000,
        "class Thing: ...\nx = " + "f'{x}' " * 400,
    ],
)
def test_python_too_large_to_parse_is_never_given_to_the_parser(
    make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    with monkeypatch.context() as patch:  # undone before pytest itself needs the parser
        patch.setattr(ast, "parse", pytest.fail)
        found = find(make_tree({"a.py": text}), "Thing")
    assert [(each.kind, each.line) for each in found.symbols] == [("class", 1)]
    assert found.unseen == "files too large to parse, known by the look of their lines: 1"


@pytest.mark.parametrize(
    "text",
    [
        "def broken(:\n    pass\nclass Thing: ...\n",
        "class Thing: ...\nx = " + "(" * 5000 + "\n",
        "class Thing: ...\n" + "-" * 200_000 + "1\n",
        "print 'two'\nclass Thing: ...\n",
    ],
)
def test_python_that_does_not_parse_is_outlined_by_its_looks(
    make_tree: MakeTree, text: str
) -> None:
    tree = make_tree({"a.py": text})
    [symbol] = find(tree, "Thing").symbols
    assert (symbol.kind, symbol.text) == ("class", "class Thing: ...")


def test_a_docstring_written_with_escapes_is_not_quoted(make_tree: MakeTree) -> None:
    tree = make_tree({"a.py": 'def f():\n    "one\\ttwo"\n'})
    [symbol] = find(tree, "f").symbols
    assert (symbol.doc, symbol.doc_line) == ("", 0)


LANGUAGES: Mapping[str, tuple[str, list[tuple[int, str, str]]]] = {
    "a.ts": (
        "export default async function load(x: number) {\n  if (x) {\n  }\n}\n"
        "export abstract class Store {\n  private async get(key: string): Promise<void> {\n"
        "    while (true) {\n    }\n  }\n}\ninterface Shape {}\ntype Id = string\n"
        "const enum Level { A }\nexport const limit = 3\n",
        [
            (1, "function", "load"),
            (5, "class", "Store"),
            (6, "method", "get"),
            (11, "interface", "Shape"),
            (12, "type", "Id"),
            (13, "enum", "Level"),
            (14, "variable", "limit"),
        ],
    ),
    "a.go": (
        "package a\n\ntype Store struct {\n}\n\nfunc (s *Store) Get() {}\n\nfunc main() {}\n"
        "var limit = 3\n",
        [
            (3, "type", "Store"),
            (6, "method", "Get"),
            (8, "function", "main"),
            (9, "variable", "limit"),
        ],
    ),
    "a.rs": (
        "pub(crate) struct Store;\nimpl Store {\n    pub async fn get(&self) {}\n}\n"
        "pub const LIMIT: u8 = 3;\nmacro_rules! boom {\n}\nmod inner {}\n",
        [
            (1, "type", "Store"),
            (3, "function", "get"),
            (5, "constant", "LIMIT"),
            (6, "macro", "boom"),
            (8, "module", "inner"),
        ],
    ),
    "A.java": (
        "public final class Store {\n    private static final int LIMIT = 3;\n"
        "    public List<String> get(int key) {\n        return find(key);\n    }\n}\n"
        "record Point(int x) {}\n",
        [(1, "class", "Store"), (2, "field", "LIMIT"), (3, "method", "get"), (7, "class", "Point")],
    ),
    "a.c": (
        "#define LIMIT 3\nstruct store {\n    int x;\n};\nint get(int x);\n"
        "static int get(int x)\n{\n    return find(x);\n}\n",
        [(1, "macro", "LIMIT"), (2, "type", "store"), (6, "function", "get")],
    ),
    "a.md": (
        "# One\n\n```sh\n# no heading\n```\n\n## Two `code` ##\n#hashtag\n",
        [(1, "heading", "One"), (7, "heading", "Two `code`")],
    ),
    "a.toml": (
        "[one]\nx = [1]\n[[two.three]] # why\n",
        [(1, "section", "one"), (3, "section", "two.three")],
    ),
    "a.txt": ("def no(): ...\n", []),
}


@pytest.mark.parametrize("path", sorted(LANGUAGES))
def test_other_languages_are_outlined_by_their_looks(path: str) -> None:
    text, expected = LANGUAGES[path]
    source = Source(path, text)
    found = outline(source, python.parse(source))
    assert [(symbol.line, symbol.kind, symbol.name) for symbol in found] == expected


@pytest.mark.parametrize("suffix", ["py", "ts", "go", "rs", "java", "c", "md", "toml"])
@pytest.mark.parametrize("unit", ["a", "a ", " ", "(", "public ", "\t", "#", "[", "pub(", "::<>"])
def test_no_line_makes_the_patterns_slow(suffix: str, unit: str) -> None:
    text = "\n".join([(unit * 400)[:400], "x" + (unit * 400)[:399]] * 50)
    started = time.monotonic()
    source = Source(f"a.{suffix}", text)
    outline(source, python.parse(source))
    assert time.monotonic() - started < 2


class Slow:
    """Garbage that lets another thread run while it is collected."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        time.sleep(0.0005)


def test_threads_may_parse_at_the_same_time() -> None:
    source = Source("a.py", "x = [1, 2, 3]\n" * 400)
    failures: list[BaseException] = []

    def parse(depth: int) -> None:
        if depth:
            return parse(depth - 1)
        for _ in range(40):
            Slow()
            try:
                assert python.parse(source) is not None
            except BaseException as error:
                failures.append(error)
        return None

    threads = [threading.Thread(target=parse, args=(depth,)) for depth in (0, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert failures == []
