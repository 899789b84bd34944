"""Traverser: runs the planned calls and settles what the question is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mission_system import ToolFailed

from ..results import Symbol
from .calls import Call, Findings, definitions, listing
from .choice import Choices, ask, narrow, option
from .intent import Intent, Kind
from .planner import file_pattern

if TYPE_CHECKING:
    from mission_system import Mission


async def run(mission: Mission, calls: Sequence[Call[Any]], findings: Findings) -> None:
    """Run calls side by side. One that fails is noted, and the answer says so."""

    async def one(call: Call[Any]) -> Any:
        try:
            return await mission.tools.call(call.tool, **dict(call.arguments))
        except ToolFailed as error:
            return error

    for call, result in zip(calls, await mission.gather(*map(one, calls)), strict=True):
        if isinstance(result, ToolFailed):
            findings.failures.append(result.message)
        else:
            findings.add(call, result)


async def settle(mission: Mission, intent: Intent, findings: Findings) -> Choices:
    """Decide which definitions and files are meant; ask where several could be."""
    choices = Choices()
    for name in intent.subjects:
        found = findings.get(definitions(name))
        groups = _same_thing(
            narrow(found.symbols, intent.symbol_kind, intent.paths) if found else ()
        )
        if len(groups) > 1:
            options = [option(group[0]) for group in groups]
            more = "more than " if found and found.cut else ""
            what = f"`{name}` is defined in {more}{len(groups)} places"
            groups = [groups[place] for place in await ask(mission, what, options)]
        chosen = [symbol for group in groups for symbol in group]
        choices.set_symbols(name, chosen, found.symbols if found else ())
    if not {Kind.CONTENTS, Kind.HISTORY, Kind.COUNT}.isdisjoint(intent.kinds):
        for asked in (*intent.paths, *intent.places):
            files = findings.get(listing(file_pattern(asked)))
            choices.set_files(asked, await _files(mission, asked, files.paths if files else ()))
    return choices


async def _files(mission: Mission, asked: str, paths: Sequence[str]) -> Sequence[str]:
    exact = asked.removeprefix("./").rstrip("/")
    if exact in paths:
        return [exact]
    if paths and file_pattern(asked).endswith("/"):
        return [_folder(exact, paths)]
    if len(paths) < 2:
        return paths
    return [paths[place] for place in await ask(mission, f"`{asked}` fits several files", paths)]


def _folder(asked: str, paths: Sequence[str]) -> str:
    """The folder in full, as it is spelled: of several with that name the one nearest the root."""
    wanted = asked.casefold().split("/")
    found = [
        parts[: begin + len(wanted)]
        for parts in (path.split("/") for path in paths)
        for begin in range(len(parts) - len(wanted))
        if [part.casefold() for part in parts[begin : begin + len(wanted)]] == wanted
    ]
    nearest = min(found, key=lambda parts: (len(parts), parts))
    return "/".join(nearest) + "/"


def _same_thing(symbols: Sequence[Symbol]) -> list[list[Symbol]]:
    """Definitions of one name in one file are one thing: overloads, a property and its setter."""
    groups: dict[tuple[str, str], list[Symbol]] = {}
    for symbol in symbols:
        groups.setdefault((symbol.path, symbol.qualname), []).append(symbol)
    return list(groups.values())
