"""The source tree: the only door between the tools and the file system."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from pathlib import Path

from mission_system import InvalidInput, NotFound

from ..config import CodeAnalysisConfig

# Without O_NONBLOCK, opening a pipe would wait for ever; with O_NOFOLLOW, a path that became a
# symlink after it was checked is not followed. Neither exists on Windows.
OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True)
class Source:
    """A text file. Line ends are `\\n`, whatever they are on disk."""

    path: str
    text: str

    @cached_property
    def lines(self) -> list[str]:
        """The lines without their ends, counted as editors and Python's parser count them."""
        # Not splitlines(): it also splits at form feeds and at some Unicode separators.
        lines = self.text.split("\n")
        return lines[:-1] if lines[-1] == "" else lines


class SourceTree:
    """One folder of sources. Paths in and out are relative to `root` and use `/`."""

    def __init__(self, config: CodeAnalysisConfig) -> None:
        self.config = config
        self.root = config.root.expanduser().resolve()
        if not self.root.is_dir():
            raise InvalidInput(
                "MISSION_CODE_ANALYSIS_ROOT",
                f"'{self.root}' is not a folder; set it to the folder whose sources are to be"
                " analysed, and start the server again",
            )
        # Case is ignored because some file systems ignore it: `.GIT` may be `.git`.
        self._ignored = re.compile("|".join(translate(p.casefold()) for p in config.ignored) or "$")

    def shows(self, name: str) -> bool:
        """Whether a file or folder of that name may be shown. Names with line ends or undecodable
        bytes are not: no citation could hold them."""
        return name.isprintable() and not self._ignored.match(name.casefold())

    def locate(self, path: str, *, missing_ok: bool = False) -> Path:
        """The real place of `path`, symlinks resolved.

        Raises:
            InvalidInput: it leads out of the tree, or is ignored.
            NotFound: there is nothing there.
        """
        try:
            place = (self.root / path).resolve()
            exists = place.exists()
        except (OSError, RuntimeError, ValueError):  # too long, a loop of symlinks, a NUL
            raise NotFound("file", path) from None
        if not place.is_relative_to(self.root):
            raise InvalidInput("path", f"'{path[:200]}' leads out of the source tree")
        if not all(self.shows(part) for part in place.relative_to(self.root).parts):
            raise InvalidInput("path", f"'{path[:200]}' is not shown here: its name is ignored")
        if not exists and not missing_ok:
            raise NotFound("file", path)
        return place

    def name(self, place: Path) -> str:
        """The path of a real place, relative to the root; "" for the root itself."""
        relative = place.relative_to(self.root).as_posix()
        return "" if relative == "." else relative

    def read(self, place: Path) -> Source:
        """Read a text file. Bytes that are not UTF-8 become U+FFFD.

        Raises:
            InvalidInput: it is a folder, a device, too large, binary, or unreadable.
        """
        path, limit = self.name(place), self.config.max_file_bytes
        try:
            with open(os.open(place, OPEN), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise InvalidInput("path", f"'{path}' is not a regular file")
                data = file.read(limit + 1)
        except OSError as error:
            raise InvalidInput("path", f"'{path}' cannot be read: {error.strerror}") from error
        if len(data) > limit:
            raise InvalidInput("path", f"'{path}' is larger than {limit} bytes")
        if b"\0" in data:
            raise InvalidInput("path", f"'{path}' is a binary file")
        text = data.decode("utf-8-sig", errors="replace")
        return Source(path, text.replace("\r\n", "\n").replace("\r", "\n"))
