"""Intent: what the question asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from .perception import Percept, perceive

MAX_SUBJECTS = 3


class Kind(StrEnum):
    DEFINITION = "definition"
    USES = "uses"
    EXPLANATION = "explanation"
    CONTENTS = "contents"
    HISTORY = "history"
    COUNT = "count"
    OVERVIEW = "overview"
    SEARCH = "search"


@dataclass(frozen=True)
class Intent:
    """What is asked (`kinds`, in the order of the answer) about what (`subjects`, `paths`).

    `noun` is what is counted, after the name of a language where one is given, and `places` are
    words that may be the folders to count in, each with a `/` at the end. `symbol_kind`
    narrows definitions ("the class X"). `report` has the topic when the answer is to be written
    to a file.
    """

    kinds: tuple[Kind, ...]
    question: str
    subjects: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    noun: str = ""
    places: tuple[str, ...] = ()
    symbol_kind: str = ""
    report: str = ""


_REPORT = re.compile(
    r"(?:please |can you |could you )*(?:write|make|create|generate|produce|save)(?: me| us)?"
    r"(?: an?| the)?(?: short| brief| full)? report (?:on|about|of|for|that says|:)\s*(.+)",
    re.IGNORECASE,
)
_COUNT = re.compile(r"\bhow many\b|^count\b|\bnumber of\b")
_NOUN = re.compile(
    r"\b(?:(python|markdown|javascript|typescript|rust|go|java|c) )?"
    r"(file|class|function|method|test|line|module)(?:es|s)?\b"
)
_DEFINITION = re.compile(
    r"\bwhere\b.*\b(?:defined?|defines|declared?|implemented?|located|found|lives?|come from)\b"
    r"|\bdefinitions? of\b|\b(?:which|what) (?:file|module)\b.*\b(?:defines?|contains?|has)\b"
    r"|\b(?:what|who) defines\b|^(?:find|locate)\b|^(?:go|jump) to\b"
)
_WHERE = re.compile(r"^where(?: is| are)?\b")
_USES = re.compile(
    r"\b(?:who|what|which|where|how is|how are|any\w+|every\w+)\b.*\b(?:used?|uses|using|calls?"
    r"|called|imports?|imported|references?|referenced|depends? on|instantiated?|instantiates)\b"
    r"|\b(?:usages?|uses|callers?|users|references|importers|imports) (?:of|to)\b|\bused by\b"
)
_NOT_USES = re.compile(r"^what do(?:es)?\b|^how do(?:es)?\b")
_HISTORY = re.compile(
    r"\bhistory\b|\bcommits?\b|\bgit log\b|\bwho (?:changed|wrote|touched|edited)\b"
    r"|\b(?:last|recent|latest|recently) (?:changed?|changes|modified)\b|\bwhen (?:was|did|were)\b"
)
_OVERVIEW = re.compile(
    r"\boverview\b|\bstructure\b|\barchitecture\b|\blayout\b|\btour\b"
    r"|\bwhat(?: is|'s| does)? (?:this|the) (?:project|repo|repository|code|codebase)\b"
    r"|\b(?:summari[sz]e|describe|explain) (?:this|the) (?:project|repo|repository|codebase)\b"
)
_OVERVIEW_WORDS = frozenset(("architecture", "layout", "tour", "whole", "quick", "short"))
_SYMBOL_KIND = re.compile(r"\b(class|function|method|attribute|variable|constant|module)\b")


def classify(percept: Percept) -> Intent:
    """The intent of a question. Whatever fits nothing else is searched for by its words."""
    if wrapped := _REPORT.match(percept.question):
        topic = wrapped[1].strip()
        return replace(classify(perceive(topic)), report=topic)
    plain = percept.plain
    subjects = (percept.names + percept.guesses)[:MAX_SUBJECTS]
    kinds, noun = _kinds(percept, bool(subjects)), ""
    places: tuple[str, ...] = ()
    if Kind.COUNT in kinds:
        subjects = tuple(name for name in subjects if not _is_folder(name, percept))
        noun, subjects = _counted(percept, subjects)
        places = tuple(f"{place}/" for place in percept.places[:MAX_SUBJECTS]) if noun else ()
        kinds = kinds if noun or subjects else (Kind.SEARCH,)
    elif not subjects and (Kind.DEFINITION in kinds or Kind.USES in kinds):
        if len(percept.words) == 1:
            subjects = percept.words
        elif Kind.USES in kinds and percept.paths:
            subjects = tuple(_module(path) for path in percept.paths)[:MAX_SUBJECTS]
        else:
            kinds = (Kind.CONTENTS,) if percept.paths else (Kind.SEARCH,)
    elif Kind.HISTORY in kinds and not subjects and not percept.paths:
        subjects = percept.words[:1]
    narrowed = _SYMBOL_KIND.search(plain) if subjects else None
    return Intent(
        kinds=kinds,
        question=percept.question,
        subjects=subjects,
        paths=percept.paths[:MAX_SUBJECTS],
        words=percept.texts + percept.names + percept.guesses + percept.words,
        noun=noun,
        places=places,
        symbol_kind=narrowed[1] if narrowed else "",
    )


def _kinds(percept: Percept, has_subjects: bool) -> tuple[Kind, ...]:
    plain = percept.plain
    if _COUNT.search(plain):
        return (Kind.COUNT,)
    uses = bool(_USES.search(plain)) and not _NOT_USES.search(plain)
    defined = bool(_DEFINITION.search(plain)) or (bool(_WHERE.search(plain)) and not uses)
    if (defined or uses) and not percept.texts:
        return (Kind.DEFINITION,) * defined + (Kind.USES,) * uses
    if _HISTORY.search(plain):
        return (Kind.HISTORY,)
    if percept.paths and not percept.names:
        return (Kind.CONTENTS,)
    if has_subjects:
        return (Kind.EXPLANATION,)
    if _OVERVIEW.search(plain) and not set(percept.words) - _OVERVIEW_WORDS:
        return (Kind.OVERVIEW,)
    return (Kind.SEARCH,)


def _counted(percept: Percept, subjects: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """What is counted: things of a kind ("python files"), or else where something stands."""
    found = _NOUN.search(percept.question.casefold())
    if found and (found[1] or not subjects):
        return " ".join(filter(None, found.groups())), ()
    return "", (subjects + percept.texts or percept.words)[:1]


def _is_folder(name: str, percept: Percept) -> bool:
    """Whether a name is where something is counted ("files in my_package"), by its spelling: a
    folder has no capitals. "How many times is it used in my_package" counts no kind of thing."""
    return name in percept.places and name.islower() and bool(_NOUN.search(percept.plain))


def _module(path: str) -> str:
    """What a file is imported as: dotted where that is possible, else its name."""
    parts = [part.split(".", 1)[0] or part for part in path.strip("/").split("/")]
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts) if all(part.isidentifier() for part in parts) else parts[-1]
