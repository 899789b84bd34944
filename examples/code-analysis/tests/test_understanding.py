"""What is read out of a question: its parts, what it asks for, and the calls that follow."""

from __future__ import annotations

import pytest
from mission_code_analysis.stages.intent import Kind, classify
from mission_code_analysis.stages.perception import (
    perceive,
    refers_back,
    with_subject_of,
)
from mission_code_analysis.stages.planner import first_calls
from mission_code_analysis.stages.ranking import MAX_TERMS, term

D, U, E, C = Kind.DEFINITION, Kind.USES, Kind.EXPLANATION, Kind.CONTENTS
H, N, V, S = Kind.HISTORY, Kind.COUNT, Kind.OVERVIEW, Kind.SEARCH


@pytest.mark.parametrize(
    ("question", "kinds", "about"),
    [
        ("Where is ControlTower defined and who uses it?", (D, U), ("ControlTower",)),
        ("where is answer defined?", (D,), ("answer",)),
        ("Where is `history` defined?", (D,), ("history",)),
        ("where do we define max_retries", (D,), ("max_retries",)),
        ("Which file contains the class Foo?", (D,), ("Foo",)),
        ("where's Foo", (D,), ("Foo",)),
        ("definition of Foo.bar", (D,), ("Foo.bar",)),
        ("Find submit_request()", (D,), ("submit_request",)),
        ("Who uses Caller?", (U,), ("Caller",)),
        ("what calls submit_request()?", (U,), ("submit_request",)),
        ("Which modules import ChatService?", (U,), ("ChatService",)),
        ("usages of new_id", (U,), ("new_id",)),
        ("Where is Caller used?", (U,), ("Caller",)),
        ("How is the lease used?", (U,), ("lease",)),
        ("who imports core/errors.py?", (U,), ("core.errors",)),
        ("who uses core/tower/__init__.py?", (U,), ("core.tower",)),
        ("who imports web/my-app.js?", (U,), ("my-app",)),
        ("What does ControlTower use?", (E,), ("ControlTower",)),
        ("What is ControlTower?", (E,), ("ControlTower",)),
        ("ControlTower", (E,), ("ControlTower",)),
        ("How does ControlTower work?", (E,), ("ControlTower",)),
        ("What does core/errors.py contain?", (C,), ("core/errors.py",)),
        ("explain README.md", (C,), ("README.md",)),
        ("What's in core/tower/?", (C,), ("core/tower/",)),
        ("core/errors.py:12", (C,), ("core/errors.py",)),
        ("Show the history of README.md", (H,), ("README.md",)),
        ("who changed ControlTower", (H,), ("ControlTower",)),
        ("what are the latest commits?", (H,), ()),
        ("How many classes are there?", (N,), ()),
        ("how many times is Caller used", (N,), ("Caller",)),
        ("Give me an overview", (V,), ()),
        ("What is this project about?", (V,), ()),
        ("How does the lease work?", (S,), ()),
        ("where is the session lease taken?", (S,), ()),
        ("architecture of the scheduler", (S,), ()),
        ("hello", (S,), ()),
        ("", (S,), ()),
    ],
)
def test_a_question_is_understood(
    question: str, kinds: tuple[Kind, ...], about: tuple[str, ...]
) -> None:
    intent = classify(perceive(question))
    assert intent.kinds == kinds
    assert (intent.subjects or intent.paths) == about


@pytest.mark.parametrize(
    ("question", "topic", "kinds"),
    [
        ("Write a report on who uses Caller", "who uses Caller", (U,)),
        ("please make a short report about core/errors.py", "core/errors.py", (C,)),
        ("report on this", "", (S,)),
    ],
)
def test_a_report_is_about_a_question_of_its_own(
    question: str, topic: str, kinds: tuple[Kind, ...]
) -> None:
    intent = classify(perceive(question))
    assert (intent.report, intent.kinds) == (topic, kinds)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("How do the leases expire?", ("leases", "expire")),
        ('where does it say "read only"?', ("read only",)),
        ("is it and/or that?", ()),
        ("don't ask who's there", ("don't", "ask")),
    ],
)
def test_words_that_carry_no_meaning_are_left_out(question: str, words: tuple[str, ...]) -> None:
    percept = perceive(question)
    assert set(percept.words + percept.texts) == {word for word in words if "'" not in word}


def test_identifiers_of_every_alphabet_are_names() -> None:
    assert perceive("Where is größe_max defined?").names == ("größe_max",)
    assert perceive("Where is `Größe` defined?").names == ("Größe",)
    # The same letter, written as one code point and as two.
    assert perceive("caf\u0065\u0301_x").names == perceive("caf\u00e9_x").names


def test_it_takes_the_newest_subject_that_was_spoken_of() -> None:
    percept = perceive("who uses it?")
    assert refers_back(percept)
    resolved = with_subject_of(percept, ["2", "all", "Where is Lease defined?", "Where is Old?"])
    assert classify(resolved).subjects == ("Lease",)
    assert with_subject_of(percept, ["2", "yes"]) == percept
    assert not refers_back(perceive("who uses Lease and why is it there?"))


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("leases", "lease"),
        ("scheduling", "schedul"),
        ("process", "process"),
        ("class", "class"),
        ("used", "used"),
        ("lease", "lease"),
    ],
)
def test_endings_are_taken_off_long_words_only(word: str, stem: str) -> None:
    assert term(word) == stem


@pytest.mark.parametrize(
    "question",
    [
        "who uses " + " and ".join(f"Name{n}X" for n in range(100)),
        "what is in " + " ".join(f"a/b{n}.py" for n in range(100)),
        "how do " + " ".join(f"word{chr(97 + n)}" for n in range(26)) + " work",
        "`" * 9999,
        "(" * 9999,
        "a/" * 4999,
        "a." * 4999,
        "_ " * 4999,
        "where " * 1600,
    ],
)
def test_no_question_makes_many_calls(question: str) -> None:
    intent = classify(perceive(question))
    assert len(first_calls(intent)) <= 2 * MAX_TERMS
