"""Finding definitions. Nothing is cached, so an edit shows at once: a file is parsed only when
the name stands in it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from difflib import get_close_matches
from heapq import nsmallest
from itertools import pairwise

from ..results import Symbol, Symbols
from . import patterns, python
from .ranking import symbol_order
from .sweep import Sweep
from .tree import Source, SourceTree

MAX_NAME = 400
MAX_CANDIDATES = 5_000  # comparing spellings takes seconds for more
MAX_SPELLING = 80  # characters; longer names are found by a part of them only


def outline(source: Source, module: ast.Module | None) -> list[Symbol]:
    """The definitions in a file, by line: from its syntax tree, or without one by their looks."""
    found = patterns.outline(source) if module is None else python.outline(source, module)
    return [symbol for symbol in found if len(symbol.qualname) <= MAX_NAME]


def find_symbol(tree: SourceTree, name: str, path: str, kind: str, limit: int) -> Symbols:
    """Definitions of `name`, or all below `path` when it is empty. Exact case wins over any case,
    and a module is found only where nothing else has its name."""
    sweep = Sweep(tree, path)
    exact: list[Symbol] = []
    folded: list[Symbol] = []
    last = name.rsplit(".", 1)[-1].casefold()
    for source in sweep.sources():
        if last not in source.text.casefold() and last not in source.path.casefold():
            continue
        module = sweep.parse(source)
        if sweep.is_over():
            break
        for symbol in outline(source, module):
            if kind and symbol.kind != kind:
                continue
            if not name or _is_named(symbol, name):
                exact.append(symbol)
            elif _is_named(symbol, name, ignore_case=True):
                folded.append(symbol)
    if not name:
        return _bounded(exact, limit, sweep)
    for found in (exact, folded):
        things = [symbol for symbol in found if symbol.kind != "module"]
        if found:
            return _bounded(sorted(things or found, key=symbol_order), limit, sweep)
    nearest = _nearest(tree, name.rsplit(".", 1)[-1])
    return Symbols(symbols=(), total=0, nearest=nearest, unseen=sweep.unseen)


def _is_named(symbol: Symbol, name: str, *, ignore_case: bool = False) -> bool:
    """Whether a name, with or without the dotted names of what is around it, means a symbol."""
    full = symbol.path.rsplit(".", 1)[0].removesuffix("/__init__").replace("/", ".")
    if symbol.kind != "module":
        full += f".{symbol.qualname}"
    if ignore_case:
        full, name = full.casefold(), name.casefold()
    return f".{full}".endswith(f".{name}")


def _bounded(symbols: list[Symbol], limit: int, sweep: Sweep) -> Symbols:
    chars = sweep.tree.config.max_line_chars
    listed = (
        symbol.model_copy(update={"text": symbol.text[:chars], "doc": symbol.doc[:chars]})
        for symbol in symbols[:limit]
    )
    return Symbols(
        symbols=tuple(listed),
        total=len(symbols),
        cut=f"{limit} of {len(symbols)} definitions are listed" if len(symbols) > limit else "",
        unseen=sweep.unseen,
    )


def _nearest(tree: SourceTree, name: str) -> tuple[str, ...]:
    names = {
        found: None
        for source in Sweep(tree).sources()
        for kind, found, _ in patterns.definitions(source.path, source.lines)
        if kind != "heading"
    }
    return similar(name, names)


def similar(name: str, names: Iterable[str], count: int = 5) -> tuple[str, ...]:
    """Up to `count` of the names that contain `name` or are spelled much like it. Of very many
    names only the most likely are compared: those that share the most pairs of letters."""
    folded = {candidate.casefold(): candidate for candidate in sorted(names, reverse=True)}
    wanted = name.casefold()
    containing = sorted((key for key in folded if len(wanted) > 2 and wanted in key), key=len)
    pairs = set(pairwise(wanted))
    likely = nsmallest(
        MAX_CANDIDATES,
        (key for key in folded if max(len(key), len(wanted)) <= MAX_SPELLING),
        key=lambda key: (-len(pairs.intersection(pairwise(key))), key),
    )
    close = get_close_matches(wanted, likely, n=count, cutoff=0.6)
    return tuple(folded[key] for key in dict.fromkeys([*close, *containing]))[:count]
