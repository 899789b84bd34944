"""Kinds of interrupts: how long they live and which answers they take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..chat.text import MAX_MESSAGE, checked
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

OPTIONS: dict[InterruptKind, tuple[str, ...]] = {
    _K.CONFIRMATION: ("yes", "no"),
    _K.AGENT_REVIEW: ("approve", "reject"),
    _K.CHECKPOINT: ("continue", "stop"),
    _K.RESOURCE_EXHAUSTED: ("extend", "end"),
    _K.TIMEOUT: ("extend", "end"),
    _K.SYSTEM_ERROR: ("retry", "end"),
}
"""What may be answered, unless the question brings choices of its own."""

YES = frozenset({"yes", "y", "ok", "confirm", "approve", "true"})
NO = frozenset({"no", "n", "cancel", "reject", "deny", "false"})
MAX_CLARIFICATION = 2000
MAX_OPTION = 1000
CONFIRM = ".confirm."
"""Between the key and the digest of a step: the question whether this call may be made there."""


class InterruptExpired(MissionError):
    """Nobody answered in time."""

    code = "INTERRUPT_EXPIRED"


class Declined(MissionError):
    """The user was asked whether to go on and said no."""

    code = "DECLINED"


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked. `timeout` (seconds) may shorten the kind's time to live; `data`
    (JSON) is for front ends that show more than the text.

    Raises:
        InvalidInput: a text that cannot be stored, or a timeout that is no length of time.
    """

    kind: InterruptKind
    text: str
    options: tuple[str, ...] = ()
    timeout: float | None = None
    data: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        checked("question", self.text, longest=MAX_MESSAGE)
        for option in self.options:
            checked("options", option.strip(), longest=MAX_OPTION)
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise InvalidInput(
                "timeout", f"is {self.timeout:g}; give a finite number of seconds above 0"
            )

    def expires_at(self, at: Micros) -> Micros | None:
        """When it expires if it is raised at `at`; None is never."""
        lives = TIME_TO_LIVE[self.kind]
        given = math.inf if self.timeout is None else self.timeout
        seconds = given if lives is None else min(given, lives)
        return None if seconds == math.inf else at + int(seconds * SECOND)


def in_doubt(tool: str, step: str, attempt: int) -> Question:
    """What to ask about a call whose outcome a crash, or a limit of time, has hidden."""
    text = (
        f"'{tool}' was cut short while it was running, so it may or may not have taken effect."
        " Look, then choose: retry runs it again; done goes on as if it had succeeded, with no"
        " result."
    )
    data = {"tool": tool, "step": step, "attempt": attempt}
    return Question(InterruptKind.AGENT_REVIEW, text, ("retry", "done"), data=data)


def accept(kind: InterruptKind, options: tuple[str, ...], answer: str) -> str:
    """The answer in the form that is stored: a clarification as it was given, `yes` or `no` for a
    confirmation, else the option as it was offered, whatever case it was answered in.

    Raises:
        InvalidInput: not an answer to this kind of question; the interrupt stays open.
    """
    if kind is InterruptKind.CLARIFICATION:
        return checked("answer", answer, longest=MAX_CLARIFICATION)
    text = checked("answer", answer.strip(), longest=MAX_OPTION)
    if kind is InterruptKind.CONFIRMATION:
        word = text.lower()
        if word in YES:
            return "yes"
        if word in NO:
            return "no"
        raise InvalidInput("answer", "say yes or no")
    if not options or text in options:
        return text
    alike = [each for each in options if each.strip().casefold() == text.casefold()]
    if len(alike) != 1:
        raise InvalidInput("answer", f"choose one of: {', '.join(options)}")
    return alike[0]
