"""The evidence chain: an answer cites what its process has seen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from ..chat.text import MAX_ID
from ..storage.persistence import Persistence, Row
from .indicator import Case, IndicatorSpec, Measurement, before_newest

ANSWERS = 25
LOOKED_AT = 2000  # messages
STEPS = 200  # of one answer's process whose outputs are read
BIGGEST = 256 * 1024  # characters of an output that is read
CITATIONS = 1000  # of one answer that are looked at
AT_ONCE = STEPS * BIGGEST  # characters of outputs that are held together
QUOTING = ("text", "quote", "source", "url", "path", "id", "name")
"""Fields of a citation, the one that says most first."""

# Retention keeps what was said and removes the steps that it came from: nothing to judge it by.
_ANSWERS = (
    "SELECT m.pid, m.data FROM message m"
    " WHERE m.id > ?"
    " AND m.role = 'assistant' AND m.deleted_at IS NULL AND m.data LIKE '%\"citations\"%'"
    " AND EXISTS (SELECT 1 FROM process p WHERE p.pid = m.pid AND p.state <> 'zombie')"
    " ORDER BY m.id DESC LIMIT ?"
)
_FOUND = "s.process_id = ? AND s.status = 'completed' AND s.kind NOT IN ('llm', 'interrupt')"
_SEEN = (
    "SELECT * FROM (SELECT s.process_id AS pid, s.key, s.size FROM step s"  # noqa: S608
    f" WHERE {_FOUND} ORDER BY s.id LIMIT ?) f"
)
_READ = (
    "SELECT * FROM (SELECT s.process_id AS pid, s.key,"  # noqa: S608
    " CASE WHEN s.size <= ? THEN COALESCE(o.body, s.output) END AS out"
    " FROM step s LEFT JOIN step_output o ON o.id = s.id"
    f" WHERE {_FOUND} ORDER BY s.id LIMIT ?) f"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the reply of a process cites."""

    pid: str
    citations: list[object]

    @property
    def quotes(self) -> bool:
        """Whether it takes outputs to judge it, and not only the names of steps."""
        return any(quoted(each) is not None for each in self.citations)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What steps have found: JSON by key, empty where it was not read. `is_whole`: all was."""

    outputs: Mapping[str, str]
    is_whole: bool

    def judges(self, citation: object) -> bool:
        """Whether a citation that does not resolve leads to nothing for sure."""
        return self.is_whole or quoted(citation) is None


async def measure(persistence: Persistence) -> Measurement:
    """Of the newest answers that cite something."""
    cases: list[Case] = []
    total = 0
    before = await before_newest(persistence, "message", LOOKED_AT)
    rows = await persistence.fetch_all(_ANSWERS, (before, ANSWERS))
    answers = [
        Answer(row["pid"], citations) for row in rows if (citations := citations_of(row["data"]))
    ]
    async for answer, evidence in _with_evidence(persistence, answers):
        unresolved = [each for each in answer.citations if not resolves(each, evidence.outputs)]
        lost = [each for each in unresolved if evidence.judges(each)]
        if unresolved and not lost:
            continue  # they quote what was not read
        total += 1
        if lost:
            text = f"{len(lost)} of {len(answer.citations)} citations of an answer lead to nothing"
            cases.append(Case(text, answer.pid))
    return Measurement(total, total - len(cases), tuple(cases))


async def _with_evidence(
    persistence: Persistence, answers: Sequence[Answer]
) -> AsyncIterator[tuple[Answer, Evidence]]:
    """Each with what its process has found. However many there are, that takes a few reads, and
    outputs of no more than `AT_ONCE` characters are held together."""
    seen: dict[str, dict[str, int]] = {answer.pid: {} for answer in answers}
    for row in await _of_each(persistence, _SEEN, [(pid, STEPS + 1) for pid in seen]):
        seen[row["pid"]][row["key"]] = row["size"]
    further = await _further(persistence, answers, seen)
    for some in _batches(answers, seen):
        quoting = [answer.pid for answer in some if answer.quotes]
        read = await _of_each(persistence, _READ, [(BIGGEST, pid, STEPS + 1) for pid in quoting])
        outputs = {(row["pid"], row["key"]): str(row["out"] or "") for row in read}
        for answer in some:
            sizes = seen[answer.pid]
            is_whole = len(sizes) <= STEPS and all(size <= BIGGEST for size in sizes.values())
            if answer.quotes:  # retention may have removed some in between
                is_whole = is_whole and all((answer.pid, key) in outputs for key in sizes)
            keys = {*sizes, *(key for pid, key in further if pid == answer.pid)}
            found = {key: outputs.get((answer.pid, key), "") for key in keys}
            yield answer, Evidence(found, is_whole)


def _batches(
    answers: Sequence[Answer], seen: Mapping[str, Mapping[str, int]]
) -> Iterator[list[Answer]]:
    """In their order, as many at once as may be held."""
    some: list[Answer] = []
    held = 0
    for answer in answers:
        sizes = seen[answer.pid].values() if answer.quotes else ()
        size = sum(size for size in sizes if size <= BIGGEST)
        if some and held + size > AT_ONCE:
            yield some
            some, held = [], 0
        some.append(answer)
        held += size
    if some:
        yield some


async def _further(
    persistence: Persistence, answers: Sequence[Answer], seen: Mapping[str, Mapping[str, int]]
) -> set[tuple[str, str]]:
    """Which of the steps that are named there are beyond the first `STEPS`: pids and keys."""
    reads: list[str] = []
    params: list[str] = []
    for answer in answers:
        sizes = seen[answer.pid]
        keys = {key for each in answer.citations if (key := named(each)) is not None} - sizes.keys()
        keys = {key for key in keys if 0 < len(key) <= MAX_ID and "\0" not in key}
        if keys and len(sizes) > STEPS:
            marks = ", ".join("?" * len(keys))
            reads.append(
                "SELECT s.process_id AS pid, s.key FROM step s"  # noqa: S608
                f" WHERE {_FOUND} AND s.key IN ({marks})"
            )
            params += [answer.pid, *keys]
    rows = await persistence.fetch_all(" UNION ALL ".join(reads), params) if reads else []
    return {(row["pid"], row["key"]) for row in rows}


async def _of_each(
    persistence: Persistence, sql: str, params: Sequence[Sequence[str | int]]
) -> list[Row]:
    """What a read with each of these parameters gives, by one statement."""
    if not params:
        return []
    return await persistence.fetch_all(
        " UNION ALL ".join([sql] * len(params)), [value for some in params for value in some]
    )


def citations_of(data: str) -> list[object]:
    """What the data of a reply cites."""
    read = orjson.loads(data)
    found = cast(dict[str, Any], read).get("citations") if isinstance(read, dict) else None
    return cast(list[object], found)[:CITATIONS] if isinstance(found, list) else []


def named(citation: object) -> str | None:
    """The key of the step that a citation names, where it names one."""
    step = cast(dict[str, object], citation).get("step") if isinstance(citation, dict) else None
    return step if isinstance(step, str) else None


def quoted(citation: object) -> str | None:
    """What a citation quotes; None where it quotes nothing, or names a step."""
    if isinstance(citation, dict):
        if named(citation) is not None:
            return None
        fields = cast(dict[str, object], citation)
        texts = [value for name in QUOTING if isinstance(value := fields.get(name), str)]
        citation = next((text for text in texts if text), None)
    return citation if isinstance(citation, str) and citation else None


def resolves(citation: object, outputs: Mapping[str, str]) -> bool:
    """Whether the step that a citation names is among `outputs` (JSON, by key of the step), or
    what it quotes is in one of them."""
    if (step := named(citation)) is not None:
        return step in outputs
    if (text := quoted(citation)) is None:
        return False
    searched = orjson.dumps(text)[1:-1].decode()
    return any(searched in output for output in outputs.values())


EVIDENCE = IndicatorSpec(
    name="evidence_chain",
    title="Evidence chain",
    definition=f"Of the newest {ANSWERS} answers that cite something and whose process is kept: the"
    " share whose every citation names a step of it, or quotes what one has found.",
    threshold=0.95,
    measure=measure,
)
