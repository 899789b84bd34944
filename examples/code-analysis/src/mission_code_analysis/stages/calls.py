"""Tool calls as values: the planner makes them, the traverser runs them, the synthesizer looks up
what came back by making the same call again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..results import Files, FileText, History, Matches, Result, Swept, Symbols

R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Call(Generic[R]):
    tool: str
    result: type[R]
    arguments: tuple[tuple[str, str | int | bool], ...]


def _call(tool: str, result: type[R], **arguments: str | int | bool) -> Call[R]:
    return Call(tool, result, tuple(arguments.items()))


def last_part(name: str) -> str:
    """What of a dotted name stands where it is used. Other texts stand there as they are."""
    parts = name.split(".")
    return parts[-1] if all(part.isidentifier() for part in parts) else name


def definitions(name: str) -> Call[Symbols]:
    return _call("find_symbol", Symbols, name=name)


def outline(path: str) -> Call[Symbols]:
    return _call("find_symbol", Symbols, path=path, limit=80)


def modules(folder: str) -> Call[Symbols]:
    return _call("find_symbol", Symbols, path=folder, kind="module", limit=100)


def definitions_of_kind(kind: str, path: str) -> Call[Symbols]:
    return _call("find_symbol", Symbols, path=path, kind=kind, limit=10)


def occurrences(name: str) -> Call[Matches]:
    """Whole words only."""
    return _call("search_code", Matches, query=last_part(name), whole_word=True, limit=200)


def mentions(term: str, path: str = "") -> Call[Matches]:
    """Any case, parts of words too, the most relevant first."""
    options: dict[str, Any] = {"ignore_case": True, "order": "relevance", "limit": 60}
    return _call("search_code", Matches, query=term, path=path, **options)


def listing(pattern: str = "", folder: str = "") -> Call[Files]:
    return _call("list_files", Files, pattern=pattern, folder=folder, limit=100)


def folder(path: str) -> Call[Files]:
    return listing(folder=path)


def lines(path: str, start: int = 1, count: int = 40) -> Call[FileText]:
    return _call("read_file", FileText, path=path, start=start, count=count)


def history(path: str = "") -> Call[History]:
    return _call("git_log", History, path=path, limit=20)


@dataclass
class Findings:
    """What the calls of one run returned. `failures` says what went wrong with the others."""

    failures: list[str] = field(default_factory=list)
    _results: dict[Call[Any], Result] = field(default_factory=dict)

    def add(self, call: Call[Any], result: Result) -> None:
        self._results[call] = result

    def get(self, call: Call[R]) -> R | None:
        result = self._results.get(call)
        return result if isinstance(result, call.result) else None

    def unseen(self) -> list[str]:
        """Why some files were not looked at, if some were not."""
        swept = [result.unseen for result in self._results.values() if isinstance(result, Swept)]
        return list(dict.fromkeys(filter(None, swept)))

    def texts(self) -> list[FileText]:
        """Everything that was read, by path and line."""
        read = [result for result in self._results.values() if isinstance(result, FileText)]
        return sorted(read, key=lambda text: (text.path, text.start))

    def __contains__(self, call: Call[Any]) -> bool:
        return call in self._results
