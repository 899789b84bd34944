"""Listing files and reading parts of them."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

from ..results import Files, FileText
from .sweep import Sweep
from .tree import SourceTree

MAX_KINDS = 20
OTHERS = "others"


def list_files(tree: SourceTree, folder: str, pattern: str, limit: int) -> Files:
    """Paths below a folder, by name. `pattern` fits a whole path or its end, case ignored.

    `errors.py`, `core/errors.py` and `*.py` all fit `core/errors.py`; `core/` fits what is in it.
    """
    sweep = Sweep(tree, folder)
    paths: list[str] = []
    suffixes: Counter[str] = Counter()
    folders: Counter[str] = Counter()
    wanted = pattern.casefold().removeprefix("./") + ("*" if pattern.endswith("/") else "")
    for place in sweep.places():
        path = tree.name(place)
        if wanted and not _fits(path.casefold(), wanted):
            continue
        suffixes[place.suffix] += 1
        if "/" in path:
            folders[path.split("/")[0]] += 1
        paths.append(path)
    return Files(
        paths=tuple(paths[:limit]),
        total=len(paths),
        by_suffix=_largest(suffixes),
        by_folder=_largest(folders),
        cut=f"{limit} of {len(paths)} files are listed" if len(paths) > limit else "",
        unseen=sweep.unseen,
    )


def read_file(tree: SourceTree, path: str, start: int, count: int) -> FileText:
    """Up to `count` lines from line `start` on; `start` may lie behind the last line."""
    config = tree.config
    source = tree.read(tree.locate(path))
    kept = source.lines[start - 1 : start - 1 + min(count, config.max_lines)]
    end = start - 1 + len(kept)
    cuts = []
    if end < len(source.lines) and kept:
        cuts.append(f"lines {start} to {end} of {len(source.lines)} are given")
    if any(len(line) > config.max_line_chars for line in kept):
        cuts.append(f"lines are cut after {config.max_line_chars} characters")
    return FileText(
        path=source.path,
        start=start,
        lines=tuple(line[: config.max_line_chars] for line in kept),
        total_lines=len(source.lines),
        cut="; ".join(cuts),
    )


def _largest(counts: Counter[str]) -> dict[str, int]:
    """The largest numbers first, and the sum of those for which there is no room."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(number for _, number in ordered[MAX_KINDS:])
    return dict(ordered[:MAX_KINDS]) | ({OTHERS: rest} if rest else {})


def _fits(path: str, pattern: str) -> bool:
    return fnmatchcase(path, pattern) or fnmatchcase(path, f"*/{pattern}")
