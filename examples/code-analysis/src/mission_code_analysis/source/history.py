"""The history of a file, from git."""

from __future__ import annotations

import os
import subprocess

from ..results import Commit, History
from .tree import SourceTree

# A repository's own configuration can name programs to run; these are the ones a log would start.
_COMMAND = (
    *("git", "--no-pager", "--literal-pathspecs", "-c", "log.showSignature=false"),
    *("-c", "core.fsmonitor=false", "log", "--no-color", "--no-ext-diff", "--no-textconv"),
    *("--encoding=UTF-8", "--format=%h%x1f%as%x1f%an%x1f%s"),
)


def git_log(tree: SourceTree, path: str, limit: int) -> History:
    """The newest commits that touched `path` ("" for the whole tree), renames followed."""
    place = tree.locate(path, missing_ok=True)  # what was deleted has a history too
    name = tree.name(place)
    command = [*_COMMAND, f"--max-count={limit + 1}"]
    if place.is_file():
        command.append("--follow")
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, and the path stands after `--`
            [*command, "--", name or "."],
            cwd=tree.root,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=tree.config.max_seconds,
            check=False,
        )
    except FileNotFoundError:
        return History(path=name, commits=(), note="git is not installed on the server")
    except subprocess.TimeoutExpired:
        seconds = tree.config.max_seconds
        return History(path=name, commits=(), note=f"git took more than {seconds:g} seconds")
    if done.returncode:
        return History(path=name, commits=(), note=_explain(done.stderr))
    lines = done.stdout.decode("utf-8", "replace").split("\n")  # a subject may hold other breaks
    commits = [_commit(line) for line in lines if line]
    return History(
        path=name,
        commits=tuple(commits[:limit]),
        note="" if commits else "git has no commit that touches it",
        cut=f"older commits than the newest {limit} are left out" if len(commits) > limit else "",
    )


def _commit(line: str) -> Commit:
    id, date, author, subject = line.split("\x1f", 3)
    return Commit(id=id, date=date, author=author[:100], subject=subject[:200])


def _environment() -> dict[str, str]:
    """The server's environment, without what would point git at another repository, make it ask
    for a password or let it fetch."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return kept | {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "LC_ALL": "C",
    }


def _explain(stderr: bytes) -> str:
    text = stderr.decode("utf-8", "replace")
    if "not a git repository" in text:
        return "the source tree is not in a git repository"
    if "does not have any commits" in text:
        return "the git repository has no commits yet"
    if "dubious ownership" in text:
        return "the repository belongs to another user; add it to git's safe.directory to trust it"
    return f"git failed: {text.strip()[:200]}"
