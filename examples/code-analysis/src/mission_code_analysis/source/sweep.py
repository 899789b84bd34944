"""One bounded pass over the files of a tree."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Iterator
from pathlib import Path

from mission_system import InvalidInput

from . import python
from .tree import Source, SourceTree


class Sweep:
    """Visits the files below a folder, or one file, in the order of their names.

    Symlinks are not followed: what they lead to inside the tree is visited under its own name.
    A thread cannot be stopped from outside, so the sweep itself looks at the clock. Afterwards
    `unseen` says what was not looked at, or only in part.
    """

    def __init__(self, tree: SourceTree, path: str = "") -> None:
        self.tree = tree
        self._start = tree.locate(path)
        self._deadline = time.monotonic() + tree.config.max_seconds
        self._stopped = ""
        self._unread = 0
        self._unparsed = 0

    @property
    def unseen(self) -> str:
        unread = f"{self._unread} folders could not be read" if self._unread else ""
        looks = f"files too large to parse, known by the look of their lines: {self._unparsed}"
        unparsed = looks if self._unparsed else ""
        return "; ".join(filter(None, (self._stopped, unread, unparsed)))

    def is_over(self) -> bool:
        """Whether the time is up. To be asked between all steps that take long."""
        if time.monotonic() > self._deadline:
            self._stopped = f"stopped after {self.tree.config.max_seconds:g} seconds"
        return bool(self._stopped)

    def parse(self, source: Source) -> ast.Module | None:
        """The syntax tree of a file, if it has one."""
        if python.is_python(source) and python.is_too_large(source):
            self._unparsed += 1
        return python.parse(source)

    def places(self) -> Iterator[Path]:
        """Every regular file, binary and large ones included."""
        most, visited, folders = self.tree.config.max_files, 0, 0
        pending = [self._start]
        while pending and not self.is_over():
            place = pending.pop()
            if place.is_dir():
                if folders == most:
                    self._stopped = f"stopped after {folders} folders"
                    return
                folders += 1
                pending += reversed(self._entries(place))
                continue
            if visited == most:
                self._stopped = f"stopped after {visited} files"
                return
            visited += 1
            yield place

    def sources(self) -> Iterator[Source]:
        """Every text file that is not too large."""
        for place in self.places():
            try:
                yield self.tree.read(place)
            except InvalidInput:
                continue  # binary, too large, or gone since it was listed: not a source

    def _entries(self, folder: Path) -> list[Path]:
        try:
            with os.scandir(folder) as entries:
                return sorted(
                    Path(entry.path)
                    for entry in entries
                    if self.tree.shows(entry.name)
                    and (
                        entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
                    )
                )
        except OSError:
            self._unread += 1
            return []
