"""Which messages of some blocks may contain what is looked for, as far as their grams tell."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import partial

from .grams import Keys
from .postings import all_of, any_of, bits_of, dense
from .reads import Held, Place
from .turn import Turn

ENOUGH = 16  # messages to judge a gram by
PAGE, POSTING, MAP = 0.1, 0.003, 0.2
"""What it costs to look a gram up, to read each position of a list, and a bitmap; a message looked
at costs 1."""
UNITED = 500  # grams that begin alike whose messages are put together at once
Choices = Sequence[Sequence[Sequence[Keys]]]
"""For each text, for each of its forms, the grams that are in every message which contains it."""


def keys_of(choices: Choices) -> list[Keys]:
    """The grams to look up, each once."""
    return sorted({each for forms in choices for keys in forms for each in keys})


async def places(
    group: Sequence[Held], choices: Choices, first: range, newest_first: bool
) -> AsyncGenerator[list[Place]]:
    """The candidates of each block of a group; in the first only of some positions."""
    turn = Turn()
    for block in group:
        found: set[int] | None = None
        for forms in sorted(choices, key=partial(_heft, block)):
            either = set[int]()
            for keys in forms:
                either |= await _meeting(block, keys, turn)
            found = either if found is None else found & either
            if not found:
                break
        if block is group[0]:
            found = {place for place in found or () if place in first}
        yield [(block.id, place) for place in sorted(found or (), reverse=newest_first)]
        await turn.over()


def telling(choices: Choices, group: Sequence[Held]) -> Choices:
    """Of the grams of each text those that together are in few messages, judged by the biggest of
    these blocks: of grams that stand side by side in many words, two tell little more than one."""
    block = max(group, key=lambda each: each.size)
    return [[_chosen(keys, block) for keys in forms] for forms in choices]


def _chosen(keys: Sequence[Keys], block: Held) -> Sequence[Keys]:
    """As many as save more than they cost. How many messages one rules out is judged by those that
    have all grams so far; once these are few, by the one of these grams that it comes with most."""
    if len(keys) == 1:
        return keys
    order = sorted(keys, key=lambda each: sum(map(len, block.postings[each])))
    (rarest, found), *others = [(each, bits_of(block.postings[each])) for each in order]
    chosen, taken = [rarest], [found]
    left = max(1.0, found.bit_count())
    while others:
        judges = [found] if found.bit_count() >= ENOUGH else taken
        shares = [max(_share(bits, of) for of in judges) for _, bits in others]
        saved = [
            left * (1 - share) - _cost(bits.bit_count(), block.size)
            for share, (_, bits) in zip(shares, others, strict=True)
        ]
        at = saved.index(max(saved))
        if saved[at] <= 0:
            break
        key, bits = others.pop(at)
        found &= bits
        left *= shares[at]
        chosen.append(key)
        taken.append(bits)
    return chosen


def _share(bits: int, of: int) -> float:
    return (bits & of).bit_count() / max(1, of.bit_count())


def _cost(positions: int, size: int) -> float:
    return MAP if dense(positions, size) else PAGE + POSTING * positions


def _heft(block: Held, forms: Sequence[Sequence[Keys]]) -> int:
    """How much is to be read of a block for one text: what is rare comes first."""
    return sum(sum(map(len, block.postings[each])) for keys in forms for each in keys)


async def _meeting(block: Held, keys: Sequence[Keys], turn: Turn) -> set[int]:
    """Where all of some grams are. More than one is asked for only where each is known whole."""
    held = [block.postings[each] for each in keys]
    if not all(held):
        return set()
    if len(held) > 1:
        return all_of(postings for [postings] in held)
    found: set[int] = set()
    for at in range(0, len(held[0]), UNITED):
        found |= any_of(held[0][at : at + UNITED])
        await turn.over()
    return found
