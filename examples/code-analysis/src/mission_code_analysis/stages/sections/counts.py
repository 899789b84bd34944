"""Answers to "how many"."""

from __future__ import annotations

from collections import Counter

from ...results import Files, FileText, Matches, Symbols
from ..calls import Findings, occurrences
from ..choice import Choices
from ..draft import Draft, by_suffix, count, there_are
from ..intent import Intent
from ..perception import STOP_WORDS
from ..planner import counted_in, counting

WHOLE = " in the whole tree"


def counts(draft: Draft, intent: Intent, findings: Findings, choices: Choices) -> None:
    for name in intent.subjects:
        _occurrences(draft, name, findings)
    if intent.subjects:
        return
    for asked in intent.paths:
        if not choices.files(asked):
            draft.say(f"There is no file or folder `{asked}` here, or it is not shown.")
    for place in intent.places:
        if not choices.files(place) and place.rstrip("/").lower() not in STOP_WORDS:
            draft.say(f"There is no folder `{place}` here, or it is not shown.")
    for path in counted_in(intent, choices):
        where = f" in `{path}`" if path else WHOLE
        match findings.get(counting(intent, path)):
            case FileText() as text:
                draft.say(f"`{text.path}` has {count(text.total_lines, 'line')}.")
            case Matches() as tests:
                files = count(tests.files, "file")
                draft.say(f"{there_are(tests.total, 'test function')}{where}, in {files}.")
            case Symbols() as symbols:
                draft.say(f"{there_are(symbols.total, intent.noun)}{where}, such as:")
                draft.cite_symbols(symbols.symbols[:5], symbols.total)
            case Files() as files if intent.noun == "line":
                draft.say("I count the lines of one file: name the file.")
            case Files() as files:
                kinds = f": {by_suffix(files)}" if len(files.by_suffix) > 1 else ""
                draft.say(f"{there_are(files.total, intent.noun or 'file')}{where}{kinds}.")
            case _:
                draft.say(f"That could not be counted{where}.")


def _occurrences(draft: Draft, name: str, findings: Findings) -> None:
    found = findings.get(occurrences(name))
    if found is None:
        draft.say(f"How often `{name}` is used could not be found out.")
        return
    roles = Counter(match.role for match in found.matches)
    parts = ", ".join(count(number, role) for role, number in sorted(roles.items()))
    where = f"{count(found.total, 'line')} in {count(found.files, 'file')}"
    draft.say(f"`{found.query}` stands on {where}{WHOLE} ({parts or 'none'}).")
    used = [match for match in found.matches if match.role == "use"]
    draft.cite_matches(used[:5], len(used))
