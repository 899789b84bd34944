"""What the tools return."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["definition", "import", "use", "mention"]


class Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class Swept(Result):
    """What a pass over files found. `cut` says how many entries were left out of the list, and
    `unseen` which files were not looked at, so that the numbers are too low; "" when none."""

    cut: str = ""
    unseen: str = ""


class Files(Swept):
    """Paths relative to the root. The numbers count those left out of `paths` too, the
    largest first; `by_folder` has the folders of the root."""

    paths: tuple[str, ...]
    total: int
    by_suffix: dict[str, int]
    by_folder: dict[str, int]


class FileText(Result):
    """Some lines of a file: `lines[0]` is line `start` (from 1) of `total_lines`. `cut` says what
    was left out."""

    path: str
    start: int
    lines: tuple[str, ...]
    total_lines: int
    cut: str = ""


class Match(Result):
    """A line that matches. `role` is what the text is on that line, `within` the function or
    class around it, `origin` the module that this file imports the name from ("" if unknown)."""

    path: str
    line: int
    text: str
    role: Role
    within: str = ""
    origin: str = ""


class Matches(Swept):
    """Lines that contain `query`. `total` and `files` count those left out of `matches` too."""

    query: str
    matches: tuple[Match, ...]
    total: int
    files: int


class Symbol(Result):
    """A definition. `doc` is the first line of its documentation, found on line `doc_line`
    (0 without one); lines count from 1, and `text` is the line of the definition itself."""

    name: str
    qualname: str
    kind: str
    path: str
    line: int
    end_line: int
    text: str
    doc: str = ""
    doc_line: int = 0


class Symbols(Swept):
    """Definitions that were asked for; `nearest` has similar names when there are none."""

    symbols: tuple[Symbol, ...]
    total: int
    nearest: tuple[str, ...] = ()


class Commit(Result):
    id: str
    date: str = Field(description="Day of the commit, YYYY-MM-DD.")
    author: str
    subject: str


class History(Result):
    """Commits that touched `path`, newest first. `note` says why there are none, `cut` that
    there are more."""

    path: str
    commits: tuple[Commit, ...]
    note: str = ""
    cut: str = ""


class Report(Result):
    """A report that was written; `path` is relative to the root where it lies below it."""

    path: str
    chars: int
