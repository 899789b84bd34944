"""Whose messages are looked through, from which to which, and in which order."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Span:
    """A user's messages with numbers between these two, in either order."""

    user_id: str
    above: int
    below: int
    newest_first: bool = True

    def past(self, id: int) -> Span:
        """What comes after this one."""
        if self.newest_first:
            return replace(self, below=min(self.below, id))
        return replace(self, above=max(self.above, id))

    def upto(self, id: int) -> Span:
        """What comes before the end of this one."""
        if self.newest_first:
            return replace(self, above=max(self.above, id - 1))
        return replace(self, below=min(self.below, id + 1))

    def holds(self, id: int) -> bool:
        return self.above < id < self.below

    @property
    def is_empty(self) -> bool:
        return self.above >= self.below - 1

    @property
    def order(self) -> str:
        return "DESC" if self.newest_first else "ASC"
