"""Perception: what is in the question, before asking what it means."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

MAX_QUESTION = 2000
MAX_PART = 200

_QUOTED = re.compile(r"`([^`\n]+)`|\"([^\"\n]+)\"|“([^”\n]+)”|(?<!\w)'([^'\n]+)'(?!\w)")
_SUFFIXES = (
    "c cc cfg cpp css go h hpp html ini java js json jsx md mjs py pyi rs rst sh sql toml ts tsx"
    " txt xml yaml yml"
).replace(" ", "|")
_PATH = re.compile(
    rf"(?:[\w.+@-]*/)+[\w.+@-]*|[\w.+@-]*\w\.(?:{_SUFFIXES})|\.[A-Za-z][\w-]+"
    r"|README|LICENSE|CHANGELOG|Makefile|Dockerfile"
)
_PLACE = re.compile(
    r"\b(?:in|inside|within|under|below|of)\s+(?:(?:the|folder|directory|package)\s+){0,2}"
    r"([`'\"]?[\w.+@-]+[`'\"]?(?:(?:\s*,\s*|\s+(?:and|or)\s+)[`'\"]?[\w.+@-]+[`'\"]?)*)(?![\w/.+@-])",
    re.IGNORECASE,
)
_AND = re.compile(r"\s*,\s*|\s+(?:and|or)\s+", re.IGNORECASE)
_PRONOUN = re.compile(r"\b(?:it|its|this|that|they|them|there)\b")
_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_CAMEL = re.compile(r"[a-z\d][A-Z]|[A-Z]{2}[a-z]")

_STOP_WORDS = """
    a about across after all an and any anyone anything are as at attribute be been by called
    callers calls can case changed changes class classes code codebase come comes commit commits
    constant contain contains contents could count declared define defined defines definition
    definitions describe did do does each else every exactly example explain explained file
    files find folder for from function functions get gets give go had handle handled handles
    happen happens has have help history how i if implement implemented implements import
    imported imports in inside instantiated into is it its last latest lines list locate located
    look made make many may me mean means method methods module most much my need newest no not
    number of ok on one or other our out over overview please project recent recently reference
    referenced references repo repository say see should show so some source structure summarise
    summarize tell than that the their them then there these they thing things this those time
    times to touched under up us usage usages use used users uses using variable was way we were
    what when where which while who whom whose why will with work working works would write
    wrote yes you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

_NO_PLACES = """
    a all an any code codebase each every here it its my our project repo repository that the them
    there this total tree whole your
"""
NO_PLACES = frozenset(_NO_PLACES.split())
"""What means all of the tree, or nothing at all, even where a folder has that name."""


@dataclass(frozen=True)
class Percept:
    """The parts of a question. `names` look like code, `guesses` (capitals) may be names, `texts`
    were quoted, `words` are the other words that carry meaning; `plain` is all the rest. `places`
    stand after "in" and the like, so that they may be folders; they are among the others too."""

    question: str
    plain: str
    names: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    @property
    def is_bare(self) -> bool:
        """Whether nothing in it says what it is about."""
        return not (self.names or self.guesses or self.paths or self.texts or self.words)


def perceive(message: str) -> Percept:
    """Take a question apart. Each part keeps its order, without repeats."""
    question = " ".join(unicodedata.normalize("NFC", message).split())[:MAX_QUESTION]
    names: dict[str, None] = {}
    guesses: dict[str, None] = {}
    paths: dict[str, None] = {}
    texts: dict[str, None] = {}
    words: dict[str, None] = {}
    for quoted in _QUOTED.finditer(question):
        text = next(filter(None, quoted.groups())).strip()
        name = text.removesuffix("()")
        kind = paths if _is_path(text) else names if _NAME.fullmatch(name) else texts
        kind[name if kind is names else _without_line(text)] = None
    plain: list[str] = []
    for position, token in enumerate(_QUOTED.sub(" ", question).split()):
        token = re.sub(r"['’]s$", "", token.strip("?,;:!\"'“”").rstrip("."))
        bare = token.removesuffix("()").strip("()[]{}<>")
        if _is_path(bare):
            paths[_without_line(bare)] = None
        elif _NAME.fullmatch(bare) and _looks_like_code(bare, called=token.endswith("()")):
            names[bare] = None
        elif _is_guess(bare, position):
            guesses[bare] = None
        else:
            plain.append(bare.lower())
            if bare.lower() not in STOP_WORDS and len(bare) > 1 and _NAME.fullmatch(bare):
                words[bare.lower()] = None
    return Percept(
        question=question,
        plain=" ".join(plain),
        names=_usable(names),
        guesses=_usable(guesses),
        paths=_usable(paths),
        texts=_usable(texts),
        words=_usable(words),
        places=_usable(_places(question)),
    )


def refers_back(percept: Percept) -> bool:
    """Whether a question is about something that only earlier ones name."""
    return percept.is_bare and bool(_PRONOUN.search(percept.plain))


def with_subject_of(percept: Percept, earlier: Iterable[str]) -> Percept:
    """The question with the subject of the newest earlier message (newest first) that has one."""
    for message in earlier:
        before = perceive(message)
        if not before.is_bare:
            return replace(
                percept,
                names=before.names,
                guesses=before.guesses,
                paths=before.paths,
                texts=before.texts,
                words=before.words,
            )
    return percept


def _usable(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(part for part in parts if 0 < len(part) <= MAX_PART)


def _places(question: str) -> dict[str, None]:
    """The plain words that a question uses as the name of a place."""
    found = [
        word.strip("`'\".") for listed in _PLACE.findall(question) for word in _AND.split(listed)
    ]
    return dict.fromkeys(
        word for word in found if word.lower() not in NO_PLACES and not _is_path(word)
    )


def _is_path(token: str) -> bool:
    path = _without_line(token)
    if not _PATH.fullmatch(path) or not re.search(r"\w", path) or "//" in path:
        return False
    # "and/or" and "read/write" are words: a path has a dot, several slashes or an open end.
    parts = path.strip("/").split("/")
    return len(parts) != 2 or not all(part.lower() in STOP_WORDS for part in parts)


def _without_line(path: str) -> str:
    return re.sub(r":\d+$", "", path)


def _looks_like_code(token: str, *, called: bool) -> bool:
    return called or "." in token or "_" in token or bool(_CAMEL.search(token))


def _is_guess(token: str, position: int) -> bool:
    """A capital where the sentence does not ask for one."""
    if not _NAME.fullmatch(token) or token.lower() in STOP_WORDS or not token[0].isupper():
        return False
    return position > 0 or len(token) > 1
