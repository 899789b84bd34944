"""The table of legal transitions: the one place that knows what may follow what."""

from __future__ import annotations

from .process import ProcessState

_S = ProcessState

TRANSITIONS: dict[ProcessState, frozenset[ProcessState]] = {
    _S.NEW: frozenset({_S.READY, _S.TERMINATED}),
    _S.READY: frozenset({_S.RUNNING, _S.TERMINATED}),
    _S.RUNNING: frozenset({_S.READY, _S.WAITING, _S.BLOCKED, _S.TERMINATED}),
    _S.WAITING: frozenset({_S.READY, _S.TERMINATED}),
    _S.BLOCKED: frozenset({_S.READY, _S.TERMINATED}),
    _S.TERMINATED: frozenset({_S.ZOMBIE}),
    _S.ZOMBIE: frozenset(),
}
"""`running -> ready` is a run that was parked by a shutdown, or lost with its server or storage."""


class IllegalTransition(Exception):
    """A defect of the server: some code tried to move a process where it cannot go."""


def check(before: ProcessState, after: ProcessState) -> None:
    """Raises IllegalTransition unless the table allows it."""
    if after not in TRANSITIONS[before]:
        legal = ", ".join(sorted(TRANSITIONS[before])) or "nothing"
        raise IllegalTransition(f"{before} -> {after}; {before} may become: {legal}")
