"""Critic: reads every cited line again, and corrects or takes out what is not there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..results import FileText
from .calls import Call, Findings, last_part, lines
from .draft import MAX_CITATIONS, Citation, Draft, count
from .traverser import run

if TYPE_CHECKING:
    from mission_system import Mission

AROUND = 20
"""Lines before and after a cited one in which a line that moved is looked for."""
WINDOW = 300
"""Lines read by one call at most; `max_lines` cannot be set lower."""

# A match can begin only where a path does, and every repeat is bounded: a model may write anything.
_PLACE = re.compile(
    r"(?<![\w/.+@-])((?:[\w.+@-]{1,200}/){0,40}[\w.+@-]{0,200}\.[A-Za-z]\w{0,40}):(\d{1,7})(?:-\d{1,7})?"
    r"(?!\w)(?:\W{0,3}`([^`\n]+)`)?"
)


async def verify(mission: Mission, draft: Draft, subjects: Sequence[str]) -> Draft:
    """The draft with true citations only. A citation is true if its text, or without one the name
    of a subject, stands on its line; one that moved a little is corrected, others are taken out."""
    cited = list(draft.citations.values())
    findings = Findings()
    await run(mission, reads(cited), findings)
    read: dict[str, dict[int, str]] = {}
    for text in findings.texts():
        read.setdefault(text.path, {}).update(enumerate(text.lines, start=text.start))
    verdicts = {each.place: check(each, read.get(each.path, {}), subjects) for each in cited}
    return revise(draft, verdicts)


def cited_in(text: str, known: Mapping[str, Citation]) -> dict[str, Citation]:
    """The citations in a model's text. One without a quotation claims what the evidence had."""
    found: dict[str, Citation] = {}
    for match in _PLACE.finditer(text):
        path, line, quoted = match[1], int(match[2]), (match[3] or "").strip()
        place = f"{path}:{line}"
        expected = known[place].text if place in known else ""
        found.setdefault(place, Citation(path, line, quoted or expected))
    return dict(list(found.items())[:MAX_CITATIONS])


def reads(cited: Sequence[Citation]) -> list[Call[FileText]]:
    """The calls that read all cited lines and those around them, as few as possible."""
    windows: list[tuple[str, int, int]] = []
    for path, line in sorted({(each.path, each.line) for each in cited}):
        start, end = max(1, line - AROUND), line + AROUND
        if windows and windows[-1][0] == path and start <= windows[-1][2] + 1:
            first = windows[-1][1]
            if end - first < WINDOW:
                windows[-1] = (path, first, end)
                continue
        windows.append((path, start, end))
    return [lines(path, start, end - start + 1) for path, start, end in windows]


def check(citation: Citation, read: Mapping[int, str], subjects: Sequence[str]) -> Citation | None:
    """The citation if it is true, a corrected one if its text stands near by, else None."""

    def holds(line: int) -> bool:
        text = read.get(line, "")
        if citation.text:
            return citation.text in text
        return any(last_part(name).casefold() in text.casefold() for name in subjects)

    if holds(citation.line):
        return citation if citation.text else _quoting(citation, citation.line, read)
    near = [line for line in read if abs(line - citation.line) <= AROUND and holds(line)]
    if not near:
        return None
    closest = min(near, key=lambda line: (abs(line - citation.line), line))
    return _quoting(citation, closest, read)


def revise(draft: Draft, verdicts: Mapping[str, Citation | None]) -> Draft:
    """The draft with each citation as the verdict on it says."""
    revised = Draft()
    for line in draft.lines:
        stands = True
        for place, citation in verdicts.items():
            if citation is not None and citation.place == place:
                continue
            cited = re.compile(rf"(?<![\w/.-]){re.escape(place)}(?:-\d+)?(?!\w)")
            if not cited.search(line):
                continue
            if citation is not None:
                # The new place must not be taken for another old one, so it is marked for now.
                line = cited.sub(citation.place.replace(":", "\0"), line)
            elif line.startswith(f"- {place}"):
                stands = False
            else:
                path = place.rsplit(":", 1)[0]
                line = cited.sub(f"{path} (line not confirmed)", line)
        if stands:
            revised.say(line.replace("\0", ":"))
    for citation in verdicts.values():
        if citation is not None:
            revised.citations.setdefault(citation.place, citation)
    dropped = sum(citation is None for citation in verdicts.values())
    if dropped:
        was = "was" if dropped == 1 else "were"
        lead = count(dropped, "citation")
        revised.say(f"\n({lead} could not be confirmed and {was} taken out.)")
    return revised


def _quoting(citation: Citation, line: int, read: Mapping[int, str]) -> Citation:
    return Citation(citation.path, line, citation.text or read[line].strip())
