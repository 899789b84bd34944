"""The evidence chain: an answer cites what its process has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson

from ..storage.persistence import Persistence
from .indicator import Case, IndicatorSpec, Measurement

ANSWERS = 25
LOOKED_AT = 2000  # messages
STEPS = 200  # of one answer's process
BIGGEST = 256 * 1024  # characters of an output
QUOTING = ("text", "quote", "source", "url", "path", "id", "name")
"""Fields of a citation, the one that says most first."""

_ANSWERS = (
    "SELECT pid, data FROM message WHERE id > (SELECT COALESCE(MAX(id), 0) FROM message) - ?"
    " AND role = 'assistant' AND deleted_at IS NULL AND pid IS NOT NULL"
    " AND data LIKE '%\"citations\"%' ORDER BY id DESC LIMIT ?"
)
_EVIDENCE = (
    "SELECT s.key, COALESCE(o.body, s.output) AS output FROM step s"
    " LEFT JOIN step_output o ON o.id = s.id WHERE s.process_id = ? AND s.status = 'completed'"
    " AND s.kind NOT IN ('llm', 'interrupt') AND s.size <= ? ORDER BY s.id LIMIT ?"
)


async def measure(persistence: Persistence) -> Measurement:
    """Of the newest answers that cite something."""
    cases: list[Case] = []
    total = 0
    for row in await persistence.fetch_all(_ANSWERS, (LOOKED_AT, ANSWERS)):
        citations = citations_of(row["data"])
        if not citations:
            continue
        total += 1
        steps = await persistence.fetch_all(_EVIDENCE, (row["pid"], BIGGEST, STEPS))
        outputs = {str(step["key"]): str(step["output"] or "") for step in steps}
        lost = [each for each in citations if not resolves(each, outputs)]
        if lost:
            text = f"{len(lost)} of {len(citations)} citations of an answer lead to nothing"
            cases.append(Case(text, row["pid"]))
    return Measurement(total, total - len(cases), tuple(cases))


def citations_of(data: str) -> list[object]:
    """What the data of a reply cites."""
    read = orjson.loads(data)
    found = cast(dict[str, Any], read).get("citations") if isinstance(read, dict) else None
    return cast(list[object], found) if isinstance(found, list) else []


def resolves(citation: object, outputs: Mapping[str, str]) -> bool:
    """Whether the step that a citation names is among `outputs` (JSON, by key of the step), or
    what it quotes is in one of them."""
    if isinstance(citation, dict):
        fields = cast(dict[str, object], citation)
        if isinstance(fields.get("step"), str):
            return fields["step"] in outputs
        texts = [value for name in QUOTING if isinstance(value := fields.get(name), str)]
        citation = next((text for text in texts if text), None)
    if not isinstance(citation, str) or not citation:
        return False
    quoted = orjson.dumps(citation)[1:-1].decode()
    return any(quoted in output for output in outputs.values())


EVIDENCE = IndicatorSpec(
    name="evidence_chain",
    title="Evidence chain",
    definition=f"Of the newest {ANSWERS} answers that cite something: the share whose every"
    " citation names a step of its process, or quotes what one has found.",
    threshold=0.95,
    measure=measure,
)
