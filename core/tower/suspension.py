"""How a run is stopped from inside without failing."""

from __future__ import annotations


class Suspended(BaseException):
    """Unwinds an orchestrator whose process waits for something.

    Not an Exception, so that an orchestrator's own `except Exception` lets it pass. Once raised,
    every further call of the mission raises it again.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Fenced(Suspended):
    """A newer run owns the process, or it was ended: this run must not write any more."""

    def __init__(self) -> None:
        super().__init__("fenced")


class NotStored(Suspended):
    """The storage failed with `error`: nothing further is written, and a later run takes up where
    the journal ends."""

    def __init__(self, error: Exception) -> None:
        super().__init__("not_stored")
        self.error = error


class Blocked(Suspended):
    """The process cannot go on here for a reason that is not its user's to resolve."""

    def __init__(self, reason: str, explanation: str) -> None:
        super().__init__(reason)
        self.explanation = explanation
