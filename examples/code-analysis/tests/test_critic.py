"""Citations: the true ones stay, those that moved are corrected, false ones are taken out."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
from mission_code_analysis.stages.critic import AROUND, WINDOW, check, cited_in, reads, revise
from mission_code_analysis.stages.draft import MAX_CITATIONS, Citation, Draft, quote

READ: Mapping[int, str] = {
    9: "",
    10: "class Lease:",
    11: "    def take(self) -> None:",
    12: "        pass",
    13: "    def give(self) -> None:",
    14: "        pass",
}


@pytest.mark.parametrize(
    ("line", "text", "found"),
    [
        (10, "class Lease:", 10),
        (11, "def take(self)", 11),
        (12, "class Lease:", 10),
        (11, "pass", 12),
        (13, "pass", 12),
        (10, "class Other:", None),
        (99, "class Lease:", None),
        (10, "", 10),
        (12, "", 10),
    ],
)
def test_a_text_must_stand_on_its_line_or_near_it(line: int, text: str, found: int | None) -> None:
    checked = check(Citation("a.py", line, text), READ, ["storage.Lease"])
    assert (checked.line if checked else None) == found
    if checked:
        assert checked.text
        assert checked.text in READ[checked.line]


def test_without_a_text_and_a_subject_nothing_can_be_confirmed() -> None:
    assert check(Citation("a.py", 10, ""), READ, []) is None


def test_a_false_citation_takes_its_list_entry_along_and_is_owned_up_to() -> None:
    draft = Draft(["Found:", "- a.py:1 `x`", "- a.py:12 `y`", "See a.py:1, or a.py:12."])
    revised = revise(draft, {"a.py:1": None, "a.py:12": Citation("a.py", 12, "y")})
    assert revised.text == (
        "Found:\n- a.py:12 `y`\nSee a.py (line not confirmed), or a.py:12.\n\n"
        "(1 citation could not be confirmed and was taken out.)"
    )
    assert list(revised.citations) == ["a.py:12"]


def test_a_place_is_not_taken_for_the_beginning_or_the_end_of_another() -> None:
    draft = Draft(["In a.py:1 and a.py:12 and b/a.py:1 and xa.py:1."])
    assert "In a.py (line not confirmed) and a.py:12 and b/a.py:1 and xa.py:1." in (
        revise(draft, {"a.py:1": None}).text
    )


def test_corrections_that_swap_places_do_not_meet() -> None:
    draft = Draft(["a.py:1 a.py:2"])
    verdicts = {"a.py:1": Citation("a.py", 2, "x"), "a.py:2": Citation("a.py", 1, "y")}
    assert revise(draft, verdicts).text == "a.py:2 a.py:1"


def test_citations_are_found_in_a_model_s_prose() -> None:
    text = (
        "Leases (see core/lease.py:46) are taken in `x/y.py:7` `take()` and\n"
        "core/lease.py:90-95: `def take`. Not http://127.0.0.1:8000/ or 12:30 or v1.2:3x or a.py:."
    )
    known = {"core/lease.py:46": Citation("core/lease.py", 46, "class Lease:")}
    assert cited_in(text, known) == {
        "core/lease.py:46": Citation("core/lease.py", 46, "class Lease:"),
        "x/y.py:7": Citation("x/y.py", 7, "take()"),
        "core/lease.py:90": Citation("core/lease.py", 90, "def take"),
    }


@pytest.mark.parametrize("unit", ["@", "+", "-a", "a.", ".a", "a/", "a-/", "a.b:1", "`", "a:1 `"])
def test_no_text_of_a_model_makes_the_search_for_citations_slow(unit: str) -> None:
    started = time.monotonic()
    cited_in(unit * (40_000 // len(unit)), {})
    assert time.monotonic() - started < 5  # it takes milliseconds, or minutes


def test_lines_close_together_are_read_at_once_and_far_ones_apart() -> None:
    def at(line: int) -> Citation:
        return Citation("a.py", line, "x")

    assert len(reads([at(1), at(5), at(40)])) == 1
    assert len(reads([at(1), at(500)])) == 2
    assert len(reads([at(line) for line in range(1, 2000, AROUND)])) >= 2000 // WINDOW
    calls = reads([Citation(f"{n}.py", 1, "x") for n in range(MAX_CITATIONS)])
    assert len(calls) == MAX_CITATIONS
    for call in reads([at(1), at(500)]):
        arguments = dict(call.arguments)
        assert arguments["path"] == "a.py"
        assert isinstance(arguments["start"], int)
        assert arguments["start"] >= 1


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("  x = 1  ", "`x = 1`"),
        ("a `b` c", "``a `b` c``"),
        ("`b`", "`` `b` ``"),
        ("", ""),
        ("x" * 200, "`" + "x" * 120 + "`…"),
    ],
)
def test_code_is_quoted_as_markdown(text: str, quoted: str) -> None:
    assert quote(text) == quoted
