"""A draft: the text of an answer, and what it claims stands where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..results import Files, Match, Symbol

MAX_CITATIONS = 24
MAX_QUOTE = 120


@dataclass(frozen=True)
class Citation:
    """The claim that `text` stands on a line (from 1) of a file."""

    path: str
    line: int
    text: str

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass
class Draft:
    """Lines of an answer under construction. Every citation stands in the text as `path:line`."""

    lines: list[str] = field(default_factory=list)
    citations: dict[str, Citation] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "\n".join(self.lines).strip()

    def say(self, text: str) -> None:
        self.lines.append(text)

    def begin(self) -> None:
        """Start a paragraph, after an empty line if there is one before."""
        if self.lines:
            self.lines.append("")

    def cite(self, path: str, line: int, text: str, where: str = "") -> bool:
        """Add one citation on a line of its own; False if there are too many already."""
        citation = Citation(path, line, text.strip()[:MAX_QUOTE])
        if citation.place in self.citations:
            return True
        if len(self.citations) >= MAX_CITATIONS:
            return False
        self.citations[citation.place] = citation
        self.say(f"- {citation.place}{where} {quote(text)}".rstrip())
        return True

    def cite_matches(self, matches: Sequence[Match], total: int) -> None:
        """Lines that match, and how many of the total are not shown."""
        shown = sum(
            self.cite(m.path, m.line, m.text, f" in {m.within}" if m.within else "")
            for m in matches
        )
        self._say_left(total - shown)

    def cite_symbols(self, symbols: Sequence[Symbol], total: int) -> None:
        """Definitions, with what is written about each where there is room for all of it, and how
        many of the total are not shown."""
        documented = len(self.citations) + 2 * len(symbols) <= MAX_CITATIONS
        shown = 0
        for symbol in symbols:
            shown += self.cite(symbol.path, symbol.line, symbol.text)
            if documented and symbol.doc:
                self.cite(symbol.path, symbol.doc_line, symbol.doc)
        self._say_left(total - shown)

    def _say_left(self, left: int) -> None:
        if left > 0:
            self.say(f"({left} more {'is' if left == 1 else 'are'} not shown.)")


def quote(text: str) -> str:
    """A line of code as Markdown, shortened where it is long."""
    text = text.strip()
    kept = text[:MAX_QUOTE].rstrip()
    if not kept:
        return ""
    mark = "``" if "`" in kept else "`"
    pad = " " if "`" in (kept[0], kept[-1]) else ""
    return f"{mark}{pad}{kept}{pad}{mark}" + ("…" if len(text) > len(kept) else "")


def by_suffix(files: Files) -> str:
    """`3 .py, 1 .md, 1 without ending`."""
    return ", ".join(f"{n} {suffix or 'without ending'}" for suffix, n in files.by_suffix.items())


def there_are(number: int, noun: str) -> str:
    """`There is 1 file`, `There are 2 files`."""
    return f"There {'is' if number == 1 else 'are'} {count(number, noun)}"


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`, `2 classes`, `no matches`."""
    plural = f"{noun}es" if noun.endswith(("s", "ch")) else f"{noun}s"
    return f"{number or 'no'} {noun if number == 1 else plural}"
