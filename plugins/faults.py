"""Turning whatever a plugin does wrong into a reason and a fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb

from pydantic import ValidationError

from .report import PluginStatus

LONGEST_TEXT = 300
PACKAGE = Path(__file__).parents[1]
OWN_FOLDERS = tuple(PACKAGE / layer for layer in ("core", "plugins", "schema", "web"))


class PluginFault(Exception):
    """Why a plugin is not served, and what to do about it. Ends the loading of that plugin."""

    def __init__(self, reason: str, fix: str, status: PluginStatus = PluginStatus.FAILED) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix
        self.status = status


@contextmanager
def guard(action: str, fix: str) -> Iterator[None]:
    """Run foreign code; whatever it raises becomes a fault that says `action` raised it.

    SystemExit counts as well: a plugin does not decide when the server exits.
    """
    try:
        yield
    except (PluginFault, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginFault(f"{action} raised {describe(error)}.", fix) from error


def describe(error: BaseException) -> str:
    """Type, text (cut at 300 characters) and place: `ValueError: no key (docs.py, line 7)`."""
    text = " ".join(_text(error).split())[:LONGEST_TEXT].rstrip(".")
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    places = [frame for frame in extract_tb(error.__traceback__) if _tells(frame.filename)]
    # The file's name alone: reports are shown to clients, paths of this machine are not.
    return (
        f"{told} ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else told
    )


def _tells(filename: str) -> bool:
    """Whether an author looks there: not in the import machinery, in code that was generated (a
    dataclass's `__init__`), nor in this package."""
    if filename.startswith("<") or "importlib" in filename:
        return False
    return not any(Path(filename).is_relative_to(own) for own in OWN_FOLDERS)


def traceback_of(fault: PluginFault) -> BaseException | None:
    """What the log may print in full: not an error that quotes the input it refuses."""
    return None if isinstance(fault.__cause__, ValidationError) else fault.__cause__


def _text(error: BaseException) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    # Configs hold secrets, and pydantic's own text quotes every value that does not validate.
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in problems
    )
