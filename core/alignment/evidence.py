"""The evidence chain: an answer cites what its process has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

from ..chat.text import MAX_ID
from ..storage.persistence import Persistence
from .indicator import Case, IndicatorSpec, Measurement, before_newest

ANSWERS = 25
LOOKED_AT = 2000  # messages
STEPS = 200  # of one answer's process whose outputs are read
BIGGEST = 256 * 1024  # characters of an output that is read
CITATIONS = 1000  # of one answer that are looked at
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
_EVIDENCE = (
    "SELECT s.key, s.size, CASE WHEN s.size <= ? THEN COALESCE(o.body, s.output) END AS out"  # noqa: S608
    " FROM step s LEFT JOIN step_output o ON o.id = s.id"
    f" WHERE {_FOUND} ORDER BY s.id LIMIT ?"
)


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
    for row in await persistence.fetch_all(_ANSWERS, (before, ANSWERS)):
        citations = citations_of(row["data"])
        if not citations:
            continue
        evidence = await _evidence(persistence, row["pid"], citations)
        unresolved = [each for each in citations if not resolves(each, evidence.outputs)]
        lost = [each for each in unresolved if evidence.judges(each)]
        if unresolved and not lost:
            continue  # they quote what was not read
        total += 1
        if lost:
            text = f"{len(lost)} of {len(citations)} citations of an answer lead to nothing"
            cases.append(Case(text, row["pid"]))
    return Measurement(total, total - len(cases), tuple(cases))


async def _evidence(persistence: Persistence, pid: str, citations: list[object]) -> Evidence:
    rows = await persistence.fetch_all(_EVIDENCE, (BIGGEST, pid, STEPS + 1))
    outputs = {str(row["key"]): str(row["out"] or "") for row in rows}
    is_whole = len(rows) <= STEPS and all(row["size"] <= BIGGEST for row in rows)
    keys = {key for each in citations if (key := named(each)) is not None} - outputs.keys()
    keys = {key for key in keys if 0 < len(key) <= MAX_ID and "\0" not in key}
    if keys and len(rows) > STEPS:
        marks = ", ".join("?" * len(keys))
        further = await persistence.fetch_all(
            f"SELECT s.key FROM step s WHERE {_FOUND} AND s.key IN ({marks})",  # noqa: S608
            (pid, *keys),
        )
        outputs |= {str(row["key"]): "" for row in further}
    return Evidence(outputs, is_whole)


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
