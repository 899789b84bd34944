"""The tools, as the platform and its users see them: names, arguments, bounds and help."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mission_system import InvalidInput, ToolSpec, tool

from .results import Files, FileText, History, Matches, Report, Symbols
from .source import files, history, reports, search, symbols
from .source.tree import SourceTree

PathText = Annotated[str, Field(max_length=1000, description="Relative to the root; '' is all.")]
Limit = Annotated[int, Field(ge=1, le=2000)]
TIMEOUT = 130.0
"""Seconds; behind the tools' own limit (`max_seconds`, at most 60, twice for a name not found),
which ends a call with what it has. This one only abandons the thread."""


def make_tools(tree: SourceTree) -> list[ToolSpec]:
    """The tools over one source tree."""
    config = tree.config

    @tool(risk="read_only", timeout=TIMEOUT)
    def list_files(
        folder: PathText = "",
        pattern: Annotated[str, Field(max_length=200)] = "",
        limit: Limit = 100,
    ) -> Files:
        """List files below a folder. A pattern is a name, the end of a path, or has wildcards."""
        return files.list_files(tree, folder, pattern, min(limit, config.max_results))

    @tool(risk="read_only", timeout=TIMEOUT)
    def search_code(
        query: Annotated[str, Field(min_length=1, max_length=200)],
        path: PathText = "",
        whole_word: bool = False,
        ignore_case: bool = False,
        order: search.Order = "path",
        limit: Limit = 50,
    ) -> Matches:
        """Find the lines that hold a text, taken literally."""
        if "\n" in query or "\r" in query:
            raise InvalidInput("query", "must be one line; search for its most telling line")
        return search.search_code(
            tree, query, path, whole_word, ignore_case, order, min(limit, config.max_results)
        )

    @tool(risk="read_only", timeout=TIMEOUT)
    def read_file(
        path: Annotated[str, Field(min_length=1, max_length=1000)],
        start: Annotated[int, Field(ge=1, le=10_000_000)] = 1,
        count: Annotated[int, Field(ge=1, le=5000)] = 200,
    ) -> FileText:
        """Read lines of a text file."""
        return files.read_file(tree, path, start, count)

    @tool(risk="read_only", timeout=TIMEOUT)
    def find_symbol(
        name: Annotated[str, Field(max_length=200)] = "",
        path: PathText = "",
        kind: Annotated[str, Field(max_length=20)] = "",
        limit: Limit = 50,
    ) -> Symbols:
        """Find where a name is defined; without a name, what a file or folder defines."""
        return symbols.find_symbol(tree, name, path, kind, min(limit, config.max_results))

    @tool(risk="read_only", timeout=TIMEOUT)
    def git_log(path: PathText = "", limit: Annotated[int, Field(ge=1, le=200)] = 20) -> History:
        """List the newest commits that touched a file or folder."""
        return history.git_log(tree, path, limit)

    @tool(risk="write", timeout=30)
    def write_report(
        name: Annotated[str, Field(max_length=80)], text: Annotated[str, Field(min_length=1)]
    ) -> Report:
        """Write a Markdown report into the reports folder."""
        return reports.write_report(tree, name, text)

    return [list_files, search_code, read_file, find_symbol, git_log, write_report]
