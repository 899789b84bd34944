"""Searching the text of the tree. Literal only: a pattern from outside could run for ever, and
nothing stops a thread that is inside a regular expression."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from ..results import Match, Matches, Role, Symbol
from . import patterns, python
from .ranking import relevance
from .sweep import Sweep
from .symbols import outline
from .tree import Source, SourceTree

Order = Literal["path", "relevance"]


def search_code(
    tree: SourceTree,
    query: str,
    path: str,
    whole_word: bool,
    ignore_case: bool,
    order: Order,
    limit: int,
) -> Matches:
    """Lines that hold `query`, in the order of path and line or the most relevant first."""
    literal = re.escape(query)
    regex = re.compile(
        rf"(?<!\w){literal}(?!\w)" if whole_word else literal, re.IGNORECASE if ignore_case else 0
    )
    sweep = Sweep(tree, path)
    found: list[Match] = []
    total = files = 0
    for source in sweep.sources():
        if not regex.search(source.text):
            continue
        files += 1
        total += sum(regex.search(line) is not None for line in source.lines)
        if len(found) == limit and order == "path":
            continue  # only the numbers are still wanted
        found += _matches(sweep, source, regex, query, tree.config.max_line_chars)
        if order == "relevance":
            found.sort(key=lambda match: (-relevance(match, query), match.path, match.line))
        del found[limit:]
    return Matches(
        query=query,
        matches=tuple(found),
        total=total,
        files=files,
        cut=f"{len(found)} of {total} lines are listed" if total > len(found) else "",
        unseen=sweep.unseen,
    )


def _matches(
    sweep: Sweep, source: Source, regex: re.Pattern[str], query: str, max_chars: int
) -> Iterator[Match]:
    module = sweep.parse(source)
    if sweep.is_over():
        return
    symbols = outline(source, module)
    if sweep.is_over():
        return
    roles, origin = ({}, "") if module is None else python.roles(module, query)
    defined = {symbol.line for symbol in symbols if regex.search(symbol.name)}
    for number, text in enumerate(source.lines, start=1):
        if not regex.search(text):
            continue
        role: Role
        if number in defined:
            role = "definition"
        elif module is None:
            role = patterns.role(source.path, text)
        else:
            role = roles.get(number, "mention")
        yield Match(
            path=source.path,
            line=number,
            text=text[:max_chars],
            role=role,
            within=_within(symbols, number) if role != "definition" else "",
            origin=origin,
        )


def _within(symbols: Sequence[Symbol], line: int) -> str:
    """The innermost function or class around a line: of those that hold it, the last to begin."""
    around = ""
    for symbol in symbols:
        if symbol.line > line:
            break
        if symbol.end_line >= line and symbol.kind in ("class", "function", "method"):
            around = symbol.qualname
    return around
