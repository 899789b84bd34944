"""Ranking: the words of a question, and the lines that say most about all of them."""

from __future__ import annotations

from collections import Counter

from ..results import Match
from ..source.ranking import relevance
from .calls import Findings, mentions
from .intent import Intent

MAX_TERMS = 4
PLACES = 10
PLACES_PER_FILE = 3
_ENDINGS = ("ing", "ers", "ed", "es", "s")


def term(word: str) -> str:
    """A word without its ending, so that "leases" finds "lease" and "scheduling" "scheduler"."""
    for ending in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 3 and not stem.endswith("s"):
            return stem
    return word


def terms(intent: Intent) -> list[str]:
    """The words to search for, four at most."""
    return list(dict.fromkeys(term(word) for word in intent.words))[:MAX_TERMS]


def best_places(searched: list[str], findings: Findings) -> list[Match]:
    """The lines that say most about the terms, the best first, a few from each file. A rare term
    counts for more, a line with two terms for much more."""
    scores: dict[tuple[str, int], float] = {}
    matches: dict[tuple[str, int], Match] = {}
    for word in searched:
        result = findings.get(mentions(word))
        if result is None:
            continue
        weight = (1 + result.files) ** -0.25
        for match in result.matches:
            place = (match.path, match.line)
            matches[place] = match
            scores[place] = scores.get(place, -4) + 4 + (relevance(match, word) + 10) * weight
    best: list[Match] = []
    in_file: Counter[str] = Counter()
    for place in sorted(scores, key=lambda place: (-scores[place], place)):
        in_file[place[0]] += 1
        if in_file[place[0]] <= PLACES_PER_FILE:
            best.append(matches[place])
    return best[:PLACES]
