"""Answers about a name: where it is defined, who uses it, what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...results import Match, Symbol
from ...source.ranking import is_side_matter
from ..calls import Findings, definitions, occurrences, outline
from ..choice import Choices
from ..draft import Draft, count
from ..ranking import term
from .places import places

USES = 12
MEMBERS = 15


def definition(draft: Draft, name: str, findings: Findings, choices: Choices) -> None:
    symbols = choices.symbols(name)
    if not symbols:
        not_found(draft, name, findings)
        spoken = findings.get(occurrences(name))
        if spoken and spoken.matches:
            draft.say(f"The word stands on {count(spoken.total, 'line')}, such as:")
            draft.cite_matches(spoken.matches[:3], 3)
        return
    if len(symbols) == 1:
        draft.say(f"`{symbols[0].qualname}` is {_article(symbols[0].kind)}, defined here:")
    else:
        draft.say(f"`{name}` is defined in {count(len(symbols), 'place')}:")
    draft.cite_symbols(symbols[:MEMBERS], len(symbols))


def uses(draft: Draft, name: str, findings: Findings, choices: Choices) -> None:
    found = findings.get(occurrences(name))
    if found is None:
        draft.say(f"Who uses `{name}` could not be found out.")
        return
    theirs = choices.rejected(name)
    ours = choices.symbols(name)
    kept = [match for match in found.matches if not _belongs_to(match, theirs, ours)]
    # Of a module only imports tell: its name is a common word in many places.
    is_module = bool(ours) and all(symbol.kind == "module" for symbol in ours)
    used = sorted((m for m in kept if m.role == "use" and not is_module), key=_use_order)
    imported = sorted((m for m in kept if m.role == "import"), key=_use_order)
    if not used and not imported:
        spoken = sum(match.role == "mention" for match in kept)
        tail = f" It is mentioned on {count(spoken, 'line')} of text." if spoken else ""
        draft.say(f"No use of `{name}` was found.{tail}")
        return
    if used:
        files = len({match.path for match in used})
        draft.say(f"`{name}` is used on {count(len(used), 'line')} in {count(files, 'file')}:")
        draft.cite_matches(_spread(used), len(used))
    if imported:
        files = len({match.path for match in imported})
        draft.say(f"{'It' if used else f'`{name}`'} is imported by {count(files, 'file')}:")
        draft.cite_matches(imported[: USES // 2], len(imported))
    if found.cut:
        draft.say(f"Only the first are told apart here: {found.cut}.")


def explanation(draft: Draft, name: str, findings: Findings, choices: Choices) -> None:
    symbols = choices.symbols(name)
    if not symbols:
        not_found(draft, name, findings)
        places(draft, [term(name)], findings)
        return
    definition(draft, name, findings, choices)
    for symbol in symbols[:2]:
        inside = findings.get(outline(symbol.path))
        prefix = f"{symbol.qualname}." if symbol.kind == "class" else ""
        members = [
            each
            for each in (inside.symbols if inside else ())
            if each.kind != "module" and _is_direct(each.qualname, prefix)
        ]
        if members and symbol.kind in ("class", "module"):
            draft.say(f"It has {count(len(members), 'member')}:")
            public = [each for each in members if not each.name.startswith("_")]
            draft.cite_symbols((public or members)[:MEMBERS], len(members))
    found = findings.get(occurrences(name))
    used = sum(match.role == "use" for match in found.matches) if found else 0
    if used:
        draft.say(f"It is used on {count(used, 'line')}; ask who uses it to see them.")


def not_found(draft: Draft, name: str, findings: Findings) -> None:
    """Say so, and what is spelled alike."""
    found = findings.get(definitions(name))
    if found is None:
        draft.say(f"Whether `{name}` is defined could not be found out.")
        return
    near = ", ".join(f"`{each}`" for each in found.nearest)
    draft.say(
        f"`{name}` was not found: nothing of that name is defined here."
        + (f" The nearest names are {near}." if near else "")
    )


def _use_order(match: Match) -> tuple[bool, str, int]:
    return is_side_matter(match.path), match.path, match.line


def _spread(matches: Sequence[Match]) -> list[Match]:
    """As many as are shown: the first use in each file before the second of any."""
    seen: Counter[str] = Counter()
    turns: list[tuple[int, Match]] = []
    for match in matches:
        turns.append((seen[match.path], match))
        seen[match.path] += 1
    turns.sort(key=lambda turn: (turn[0], _use_order(turn[1])))
    return sorted((match for _, match in turns[:USES]), key=_use_order)


def _belongs_to(match: Match, theirs: Sequence[Symbol], ours: Sequence[Symbol]) -> bool:
    """Whether a line evidently means another definition: it is in that one's file, or imports the
    name from there. What cannot be told apart is kept."""
    our_paths = {symbol.path for symbol in ours}
    if match.path in our_paths:
        return False
    if match.path in {symbol.path for symbol in theirs}:
        return True
    source = match.origin.rsplit(".", 1)[-1]
    return bool(source) and source in _modules(theirs) - _modules(ours)


def _modules(symbols: Sequence[Symbol]) -> set[str]:
    paths = (symbol.path.removesuffix("/__init__.py") for symbol in symbols)
    return {path.rsplit("/", 1)[-1].split(".", 1)[0] for path in paths}


def _is_direct(qualname: str, prefix: str) -> bool:
    return qualname.startswith(prefix) and "." not in qualname[len(prefix) :]


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
