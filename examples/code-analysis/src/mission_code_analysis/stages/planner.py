"""Planner: which tools to call, and how often at most."""

from __future__ import annotations

from typing import Any

from ..results import Match, Symbol
from .calls import (
    Call,
    Findings,
    definitions,
    definitions_of_kind,
    folder,
    history,
    lines,
    listing,
    mentions,
    modules,
    occurrences,
    outline,
)
from .choice import Choices
from .intent import Intent, Kind
from .ranking import best_places, term, terms

EXCERPT = 24
MAX_EXCERPTS = 3
MAX_FILES = 3
_SUFFIXES = {
    "python": ".py",
    "markdown": ".md",
    "javascript": ".js",
    "typescript": ".ts",
    "rust": ".rs",
    "go": ".go",
    "java": ".java",
    "c": ".c",
}
FACE = (listing("README*"), listing("pyproject.toml"))
"""Where the files are found that say what a project is."""


def first_calls(intent: Intent) -> list[Call[Any]]:
    """What can be asked at once: two calls a subject, one a path or word."""
    calls: list[Call[Any]] = []
    for kind in intent.kinds:
        match kind:
            case Kind.DEFINITION | Kind.USES | Kind.EXPLANATION:
                for name in intent.subjects:
                    calls += [definitions(name), occurrences(name)]
            case Kind.CONTENTS:
                calls += _listings(intent)
            case Kind.HISTORY:
                calls += _listings(intent)
                calls += [definitions(name) for name in intent.subjects]
                if not calls:
                    calls.append(history())
            case Kind.COUNT:
                calls += _listings(intent)
                calls += [occurrences(name) for name in intent.subjects]
                if not calls:
                    calls.append(counting(intent, ""))
            case Kind.OVERVIEW:
                calls += [listing(), *FACE]
            case Kind.SEARCH:
                calls += [mentions(word) for word in terms(intent)]
    return list(dict.fromkeys(calls))


def follow_up_calls(
    intent: Intent, findings: Findings, choices: Choices, *, for_model: bool
) -> list[Call[Any]]:
    """What can be asked once the subjects are known. With `for_model`, also the code around the
    best places, which only a model can make use of."""
    calls: list[Call[Any]] = []
    chosen = [symbol for name in intent.subjects for symbol in choices.symbols(name)]
    for kind in intent.kinds:
        match kind:
            case Kind.CONTENTS:
                for path in chosen_files(intent, choices):
                    inside = path.removesuffix("/")
                    calls += (
                        [lines(path), outline(path)]
                        if path == inside
                        else [folder(inside), modules(inside)]
                    )
            case Kind.HISTORY:
                calls += [history(path) for path in with_history(intent, choices)]
            case Kind.EXPLANATION:
                calls += [outline(s.path) for s in chosen if s.kind in ("class", "module")][:2]
                missing = [name for name in intent.subjects if not choices.symbols(name)]
                calls += [mentions(term(name)) for name in missing]
            case Kind.COUNT if not intent.subjects:
                calls += [counting(intent, path) for path in counted_in(intent, choices)]
            case Kind.OVERVIEW:
                calls += [lines(path) for path in faces(findings)]
            case Kind.SEARCH:
                best = best_places(terms(intent), findings)
                calls += [outline(path) for path in list(dict.fromkeys(m.path for m in best))[:2]]
            case _:
                pass
    if for_model:
        calls += _excerpts(chosen, best_places(terms(intent), findings))
    return [call for call in dict.fromkeys(calls) if call not in findings]


def counting(intent: Intent, path: str) -> Call[Any]:
    """The call whose result has the number that was asked for, below a path ("" for all)."""
    language, _, noun = intent.noun.rpartition(" ")
    inside = path.removesuffix("/")
    match noun:
        case "line" if path and path == inside:
            return lines(path, count=1)
        case "test":
            return mentions("def test_", inside)
        case "class" | "function" | "method" | "module" if not language:
            return definitions_of_kind(noun, inside)
        case _:
            return listing(f"*{_SUFFIXES[language]}" if language else "", inside)


def chosen_files(intent: Intent, choices: Choices) -> list[str]:
    """The files and folders (with a `/` at the end) that were asked about, three at most."""
    asked = (path for each in (*intent.paths, *intent.places) for path in choices.files(each))
    return list(dict.fromkeys(asked))[:MAX_FILES]


def counted_in(intent: Intent, choices: Choices) -> list[str]:
    """The files and folders to count in. A word that turned out to be no folder leaves the whole
    tree (""); a path that is not there leaves nothing."""
    return chosen_files(intent, choices) or ([] if intent.paths else [""])


def with_history(intent: Intent, choices: Choices) -> list[str]:
    """The paths whose history was asked for, three at most. One that is gone may have one too."""
    asked = [path for each in intent.paths for path in choices.files(each) or (each,)]
    defined = [symbol.path for name in intent.subjects for symbol in choices.symbols(name)]
    return list(dict.fromkeys(path.removesuffix("/") for path in [*asked, *defined]))[:MAX_FILES]


def faces(findings: Findings) -> list[str]:
    """The files in the root itself that say what the project is."""
    found = (findings.get(call) for call in FACE)
    return [path for files in found if files for path in files.paths if "/" not in path][:MAX_FILES]


def file_pattern(path: str) -> str:
    """A path as a pattern of `list_files`: README alone means a README of any kind."""
    if path.endswith("/") or "." in path:
        return path
    return f"{path}/" if "/" in path else f"{path}*"


def _listings(intent: Intent) -> list[Call[Any]]:
    return [listing(file_pattern(path)) for path in (*intent.paths, *intent.places)]


def _excerpts(chosen: list[Symbol], best: list[Match]) -> list[Call[Any]]:
    starts = [(s.path, s.line) for s in chosen] + [(m.path, max(1, m.line - 4)) for m in best]
    calls: dict[tuple[str, int], Call[Any]] = {}
    for path, line in starts:
        calls.setdefault((path, line // EXCERPT), lines(path, line, EXCERPT))
    return list(calls.values())[:MAX_EXCERPTS]
