"""Which of many matches are worth showing first."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from ..results import Match, Role, Symbol

_TEST = re.compile(r"(?:^|/)(?:tests?|bench|examples?)/|(?:^|/)test_|_test\.|\.(?:test|spec)\.")
MACHINE_MADE = 300  # characters; nobody writes or reads such a line
_KINDS = ("class", "function", "method", "interface", "type", "enum", "macro")
_ROLES: dict[Role, int] = {"definition": 6, "mention": 2, "use": 1, "import": -4}


def is_side_matter(path: str) -> bool:
    """Whether a file is there for the sake of other files: tests, benchmarks, examples."""
    return _TEST.search(path) is not None


def symbol_order(symbol: Symbol) -> tuple[bool, int, str, int]:
    """Sort key: what a question most likely means comes first."""
    kind = _KINDS.index(symbol.kind) if symbol.kind in _KINDS else len(_KINDS)
    return is_side_matter(symbol.path), kind, symbol.path, symbol.line


def relevance(match: Match, term: str) -> int:
    """How well a line explains `term`: definitions and prose before calls, calls before imports,
    and files named after the term before all others."""
    path, word = PurePosixPath(match.path.casefold()), re.escape(term.casefold())
    begins = rf"(?<![^\W\d_]){word}"  # "lease" begins a word in `data_lease`, not in `release`
    camel = rf"(?<=[a-z\d]){re.escape(term[:1].upper() + term[1:])}"
    score = _ROLES[match.role]
    score += 5 if re.search(begins, path.stem) else 2 if re.search(begins, str(path)) else 0
    text = match.text.casefold()
    if re.search(rf"{begins}(?!\w)", text):
        score += 2
    elif not re.search(begins, text) and not re.search(camel, match.text):
        score -= 8
    score -= 12 if is_side_matter(match.path) else 0
    score -= 3 if len(match.text.strip()) < 12 else 0
    score -= 20 if len(match.text) >= MACHINE_MADE else 0
    return score
