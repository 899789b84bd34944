"""Kinds of interrupts: how long they live and which answers they take."""

from __future__ import annotations

from ..clock import SECOND, Micros
from ..errors import InvalidInput, MissionError
from .process import InterruptKind

_K = InterruptKind

TIME_TO_LIVE: dict[InterruptKind, float | None] = {
    _K.CLARIFICATION: 24 * 3600,
    _K.CONFIRMATION: 3600,
    _K.AGENT_REVIEW: 1800,
    _K.CHECKPOINT: None,
    _K.RESOURCE_EXHAUSTED: 300,
    _K.TIMEOUT: 300,
    _K.SYSTEM_ERROR: 3600,
}
"""In seconds; None never expires."""

YES = frozenset({"yes", "y", "ok", "confirm", "approve", "true"})
NO = frozenset({"no", "n", "cancel", "reject", "deny", "false"})
MAX_ANSWER = {_K.CLARIFICATION: 2000}
REVIEW_OPTIONS = ("retry", "done")


class InterruptExpired(MissionError):
    """Nobody answered in time."""

    code = "INTERRUPT_EXPIRED"


class Declined(MissionError):
    """The user was asked for a confirmation and said no."""

    code = "DECLINED"


def expiry(kind: InterruptKind, at: Micros, timeout: float | None) -> Micros | None:
    """When an interrupt raised at `at` expires; a shorter `timeout` (seconds) wins."""
    lives = TIME_TO_LIVE[kind]
    chosen = lives if timeout is None else timeout if lives is None else min(timeout, lives)
    return None if chosen is None else at + int(chosen * SECOND)


def accept(kind: InterruptKind, options: tuple[str, ...], answer: str) -> str:
    """The answer in the form that is stored: `yes` or `no` for a confirmation.

    Raises:
        InvalidInput: not an answer to this kind of question; the interrupt stays open.
    """
    text = answer.strip()
    if kind is InterruptKind.CONFIRMATION:
        word = text.lower()
        if word in YES:
            return "yes"
        if word in NO:
            return "no"
        raise InvalidInput("answer", "say yes or no")
    if kind is not InterruptKind.CLARIFICATION and options and text not in options:
        raise InvalidInput("answer", f"choose one of: {', '.join(options)}")
    longest = MAX_ANSWER.get(kind, 1000)
    if not text or len(text) > longest:
        raise InvalidInput("answer", f"must have between 1 and {longest} characters")
    return text
