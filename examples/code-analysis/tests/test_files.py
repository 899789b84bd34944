"""Listing and reading: any bytes, bounded, and the same lines as an editor's."""

from __future__ import annotations

import itertools
import time

import pytest
from mission_code_analysis.source.files import list_files, read_file
from mission_code_analysis.source.search import search_code

from mission_system import InvalidInput, NotFound

from .conftest import MakeTree


def test_files_are_listed_in_one_order_whatever_the_disk_says(make_tree: MakeTree) -> None:
    tree = make_tree({path: "" for path in ("b.py", "a/z.py", "a.py", "a/b/c.py", "B.md")})
    listed = list_files(tree, "", "", 10)
    assert listed.paths == ("B.md", "a/b/c.py", "a/z.py", "a.py", "b.py")
    assert listed.by_suffix == {".py": 4, ".md": 1}
    assert listed.by_folder == {"a": 2}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("errors.py", {"core/errors.py", "web/errors.py"}),
        ("core/errors.py", {"core/errors.py"}),
        ("./core/errors.py", {"core/errors.py"}),
        ("CORE/Errors.py", {"core/errors.py"}),
        ("rrors.py", set()),
        ("core/", {"core/errors.py"}),
        ("*.md", {"README.md"}),
        ("[", set()),
    ],
)
def test_a_pattern_fits_a_path_or_its_end(
    make_tree: MakeTree, pattern: str, expected: set[str]
) -> None:
    tree = make_tree({"core/errors.py": "", "web/errors.py": "", "README.md": ""})
    assert set(list_files(tree, "", pattern, 10).paths) == expected


def test_many_kinds_and_folders_are_summed_up(make_tree: MakeTree) -> None:
    tree = make_tree({f"{number}/a.x{number}": "" for number in range(50)} | {"0/b.x0": ""})
    listed = list_files(tree, "", "", 10)
    assert len(listed.by_suffix) == len(listed.by_folder) == 21
    assert (listed.by_suffix[".x0"], listed.by_suffix["others"]) == (2, 30)
    assert sum(listed.by_folder.values()) == listed.total == 51


def test_a_long_list_says_that_it_is_cut_and_still_counts(make_tree: MakeTree) -> None:
    tree = make_tree({f"{number:02}.py": "" for number in range(20)})
    listed = list_files(tree, "", "", 5)
    assert (len(listed.paths), listed.total) == (5, 20)
    assert listed.cut == "5 of 20 files are listed"


def test_a_pass_over_too_many_files_stops_and_says_so(make_tree: MakeTree) -> None:
    tree = make_tree({f"{number:02}.py": "needle\n" for number in range(20)}, max_files=7)
    assert list_files(tree, "", "", 100).unseen == "stopped after 7 files"
    assert (
        search_code(tree, "needle", "", False, False, "path", 100).unseen == "stopped after 7 files"
    )


def test_a_pass_that_takes_too_long_stops_and_says_so(make_tree: MakeTree) -> None:
    tree = make_tree({f"{number:03}.py": "needle\n" for number in range(300)}, max_seconds=1e-9)
    found = search_code(tree, "needle", "", False, False, "path", 1000)
    assert found.unseen == "stopped after 1e-09 seconds"
    assert found.total < 300


def test_folders_without_files_stop_a_pass_too(
    make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree({}, max_files=7)
    for number in range(20):
        (tree.root / f"{number:02}").mkdir()
    assert list_files(tree, "", "", 100).unseen == "stopped after 7 folders"
    tree = make_tree({}, max_seconds=5)
    clock = itertools.count()  # a second passes between two looks at it
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    assert list_files(tree, "", "", 100).unseen == "stopped after 5 seconds"


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", ()),
        (b"one", ("one",)),
        (b"one\n", ("one",)),
        (b"one\n\n", ("one", "")),
        (b"one\r\ntwo\r\n", ("one", "two")),
        (b"one\rtwo", ("one", "two")),
        (b"one\x0ctwo\x1cthree\n", ("one\x0ctwo\x1cthree",)),
        ("one\u2028two\x85three\n".encode(), ("one\u2028two\x85three",)),
        (b"\xef\xbb\xbfone\n", ("one",)),
        (b"caf\xe9\n", ("caf\ufffd",)),
        ("größe = 1\n".encode(), ("größe = 1",)),
    ],
)
def test_lines_are_those_of_an_editor(
    make_tree: MakeTree, content: bytes, lines: tuple[str, ...]
) -> None:
    text = read_file(make_tree({"a.txt": content}), "a.txt", 1, 100)
    assert text.lines == lines
    assert text.total_lines == len(lines)
    assert text.cut == ""


def test_a_part_of_a_file_says_which_part_it_is(make_tree: MakeTree) -> None:
    tree = make_tree({"a.txt": "\n".join(f"line {n}" for n in range(1, 51))})
    text = read_file(tree, "a.txt", 10, 3)
    assert (text.start, text.lines) == (10, ("line 10", "line 11", "line 12"))
    assert text.cut == "lines 10 to 12 of 50 are given"
    assert read_file(tree, "a.txt", 51, 3).lines == ()


def test_reading_is_bounded_in_lines_and_in_their_length(make_tree: MakeTree) -> None:
    tree = make_tree({"a.txt": "x" * 1000 + "\ny" * 999}, max_lines=300, max_line_chars=200)
    text = read_file(tree, "a.txt", 1, 5000)
    assert text.lines == ("x" * 200, *["y"] * 299)
    assert "lines 1 to 300 of 1000" in text.cut
    assert "cut after 200 characters" in text.cut


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\x7fELF\x00\x01needle", "binary"), (b"needle" * 200_000, "larger than 1048576 bytes")],
)
def test_binary_and_huge_files_are_refused_and_not_searched(
    make_tree: MakeTree, content: bytes, reason: str
) -> None:
    tree = make_tree({"big.py": content, "small.py": "needle\n"})
    with pytest.raises(InvalidInput, match=reason):
        read_file(tree, "big.py", 1, 10)
    assert search_code(tree, "needle", "", False, False, "path", 10).total == 1


def test_a_file_of_exactly_the_limit_is_read(make_tree: MakeTree) -> None:
    tree = make_tree({"a.txt": "x" * 100, "b.txt": "x" * 101}, max_file_bytes=100)
    assert read_file(tree, "a.txt", 1, 1).total_lines == 1
    with pytest.raises(InvalidInput, match="larger than 100 bytes"):
        read_file(tree, "b.txt", 1, 1)


def test_a_folder_is_not_a_file(make_tree: MakeTree) -> None:
    tree = make_tree({"src/a.py": ""})
    with pytest.raises(InvalidInput, match=r"'src' (cannot be read|is not a regular file)"):
        read_file(tree, "src", 1, 1)
    with pytest.raises(NotFound, match=r"file not found: src/b\.py"):
        read_file(tree, "src/b.py", 1, 1)
