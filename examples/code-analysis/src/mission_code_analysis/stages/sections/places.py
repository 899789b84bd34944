"""Answers to any other question: the lines that say most about its words."""

from __future__ import annotations

from collections.abc import Sequence

from ..calls import Findings, mentions, outline
from ..draft import Draft, count
from ..ranking import best_places

HELP = (
    "I answer questions about this source tree, such as: where is a name defined, who uses it, what"
    " is in a file, what is its history, how many files are there, and how does something work."
    " Name what the question is about."
)


def places(draft: Draft, searched: Sequence[str], findings: Findings) -> None:
    """The lines that say most about some words, by file."""
    best = best_places(list(searched), findings)
    if not best:
        words = ", ".join(f"`{word}`" for word in searched)
        draft.say(f"Nothing here speaks of {words}." if words else HELP)
        return
    total = sum(found.total for word in searched if (found := findings.get(mentions(word))))
    draft.say(f"The most telling of {count(total, 'line')}:")
    for path in dict.fromkeys(match.path for match in best):
        inside = findings.get(outline(path))
        symbols = {symbol.line: symbol for symbol in (inside.symbols if inside else ())}
        first = symbols.get(1)
        if first and first.kind == "module" and first.doc:
            draft.cite(path, first.doc_line, first.doc)
        for match in sorted((m for m in best if m.path == path), key=lambda m: m.line):
            symbol = symbols.get(match.line)
            if symbol and symbol.kind != "module":
                draft.cite_symbols([symbol], 1)
            else:
                draft.cite_matches([match], 1)
