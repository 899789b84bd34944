"""Writing reports: the one thing this capability changes on disk."""

from __future__ import annotations

import re

from mission_system import Conflict, InvalidInput

from ..results import Report
from .tree import SourceTree

MAX_SAME_NAME = 1000
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}", re.ASCII)


def write_report(tree: SourceTree, name: str, text: str) -> Report:
    """Write `<reports>/<name>.md`. Nothing is overwritten: a name in use gets a number.

    Raises:
        InvalidInput: an unsafe name, too long a text, or a reports folder that leaves the tree.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput("name", "use up to 80 of a-z, 0-9, '-' and '_', a letter or digit first")
    if len(text) > tree.config.max_report_chars:
        raise InvalidInput("text", f"is longer than {tree.config.max_report_chars} characters")
    folder = (tree.root / tree.config.reports).resolve()
    # A folder given in full is the operator's choice; below the root, a symlink could lie in wait.
    if not tree.config.reports.is_absolute() and not folder.is_relative_to(tree.root):
        raise InvalidInput(
            "MISSION_CODE_ANALYSIS_REPORTS",
            f"'{tree.config.reports}' leads out of the source tree; for a folder elsewhere,"
            " give its absolute path",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, MAX_SAME_NAME + 1):
        place = folder / (f"{name}.md" if number == 1 else f"{name}-{number}.md")
        try:
            # "x" refuses what is there already, a symlink included.
            with place.open("x", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(text)
        except FileExistsError:
            continue
        shown = tree.name(place) if place.is_relative_to(tree.root) else str(place)
        return Report(path=shown, chars=len(text))
    raise Conflict(f"there are {MAX_SAME_NAME} reports named '{name}'; choose another name")
