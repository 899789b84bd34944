"""Choice: which of several things a question means, and asking when that is not clear."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..results import Symbol

if TYPE_CHECKING:
    from mission_system import Mission

MAX_OPTIONS = 9
_ALL = frozenset(("all", "all of them", "any", "both", "each", "every", "everything"))


class Choices:
    """What the subjects and paths of a question turned out to mean."""

    def __init__(self) -> None:
        self._symbols: dict[str, tuple[Symbol, ...]] = {}
        self._rejected: dict[str, tuple[Symbol, ...]] = {}
        self._files: dict[str, tuple[str, ...]] = {}

    def symbols(self, name: str) -> tuple[Symbol, ...]:
        return self._symbols.get(name, ())

    def rejected(self, name: str) -> tuple[Symbol, ...]:
        """Definitions of that name that were not meant."""
        return self._rejected.get(name, ())

    def files(self, asked: str) -> tuple[str, ...]:
        """Paths; that of a folder ends with `/`."""
        return self._files.get(asked, ())

    def set_symbols(self, name: str, chosen: Sequence[Symbol], all: Sequence[Symbol]) -> None:
        self._symbols[name] = tuple(chosen)
        self._rejected[name] = tuple(symbol for symbol in all if symbol not in chosen)

    def set_files(self, asked: str, paths: Sequence[str]) -> None:
        self._files[asked] = tuple(paths)


def option(symbol: Symbol) -> str:
    """A definition as a person reads it in a list of choices."""
    return f"{symbol.path}:{symbol.line} {symbol.kind} {symbol.qualname}"


def narrow(symbols: Sequence[Symbol], kind: str, paths: Sequence[str]) -> list[Symbol]:
    """The definitions that fit what else the question says, or all if none does."""
    kinds = ("function", "method") if kind in ("function", "method") else (kind,)
    fitting = [symbol for symbol in symbols if not kind or symbol.kind in kinds] or list(symbols)
    wanted = [f"/{path.strip('/')}/" for path in paths]
    placed = [s for s in fitting if any(path in f"/{s.path}/" for path in wanted)]
    return placed or fitting


def choose(answer: str, options: Sequence[str]) -> list[int]:
    """The options an answer means, by number, text, path or name; none when it is not clear."""
    text = answer.strip().casefold().strip("`'\".")
    if text in _ALL:
        return list(range(len(options)))
    if number := re.fullmatch(r"(?:number |no\.? ?|#)?(\d+)[.)]?", text):
        place = int(number[1]) - 1
        return [place] if 0 <= place < len(options) else []
    folded = [option.casefold() for option in options]
    if text in folded:
        return [folded.index(text)]
    places = [each.split(" ", 1)[0] for each in folded]
    paths = [place.rsplit(":", 1)[0] for place in places]
    fitting: tuple[Callable[[int], bool], ...] = (
        lambda i: text in (places[i], paths[i], folded[i].split(" ")[-1]),
        lambda i: f"/{paths[i]}".endswith(f"/{text}"),
        lambda i: places[i] in text,
        lambda i: paths[i] in text,
    )
    for fits in fitting:
        if chosen := [i for i in range(len(options)) if text and fits(i)]:
            return chosen
    words = set(re.findall(r"\w+", text))
    telling = [i for i in range(len(options)) if words & set(re.findall(r"\w+", folded[i]))]
    return telling if len(telling) == 1 else []


async def ask(mission: Mission, what: str, options: Sequence[str]) -> list[int]:
    """Ask which of the options is meant: twice at most, then all of them are. What is not listed
    for want of room can be chosen too. Whoever shows the question numbers its options from 1."""
    shown = list(options[:MAX_OPTIONS])
    left = len(options) - len(shown)
    more = f"\n({left} more are not listed; a path chooses one of them.)" if left else ""
    for lead in (
        f"{what}. Which one do you mean? Answer with a number, a path, a name or `all`.",
        "That was not clear to me. Please answer with a number, a path, a name or `all`.",
    ):
        answer = await mission.clarify(f"{lead}{more}", options=shown)
        if chosen := choose(answer, options):
            return chosen
    return list(range(len(options)))
