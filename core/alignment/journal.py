"""What the journal tells of the server's promises: bounded retries, a deterministic spine, complete
records, and people who were asked. Each looks at a bounded number of the newest rows."""

from __future__ import annotations

from collections.abc import Mapping

from ..capabilities import CapabilityRegistry
from ..retry import MAX_ATTEMPTS
from ..settings import Settings
from ..storage.persistence import Persistence, Row
from ..tools.calls import UNCOUNTED
from ..tools.spec import ToolRegistry, ToolSpec
from ..tower.codec import call_status
from ..tower.interrupts import CONFIRM
from ..tower.policy import Decision, decide
from ..tower.process import OUT_OF_TIME
from .indicator import MAX_CASES, Case, IndicatorSpec, Measurement, before_newest

STEPS = 10_000
PROCESSES = 2_000

_NEWEST = "id > ?"
_REPLAYED = (
    "SELECT p.pid, p.divergences, EXISTS (SELECT 1 FROM step s WHERE s.process_id = p.pid"
    " AND s.input_changed) AS changed FROM (SELECT pid, divergences, outcome, epoch FROM process"
    " ORDER BY pid DESC LIMIT ?) p"
    # A cancellation raises the epoch too, and replays nothing.
    " WHERE p.epoch > CASE WHEN p.outcome = 'cancelled' THEN 2 ELSE 1 END ORDER BY p.pid DESC"
)
_INCOMPLETE = (
    "SELECT s.name, s.kind, s.status, s.error, s.process_id FROM step s"  # noqa: S608
    " LEFT JOIN process p ON p.pid = s.process_id"
    f" WHERE s.{_NEWEST} AND ((s.status = 'started' AND p.state IN ('terminated', 'zombie')"
    # What a user or the time limit has cut short has no outcome, and the process says why.
    " AND p.outcome <> 'cancelled' AND COALESCE(p.reason, '') <> ?)"
    " OR (s.status = 'failed' AND s.error IS NULL)) ORDER BY s.id DESC"
)


class JournalIndicators:
    """Makes the indicators of one server, by its settings, tools and capabilities."""

    def __init__(
        self, settings: Settings, tools: ToolRegistry, capabilities: CapabilityRegistry
    ) -> None:
        self._settings = settings
        self._tools = tools
        self._capabilities = capabilities

    def specs(self) -> list[IndicatorSpec]:
        return [
            IndicatorSpec(
                name="bounded_retry",
                title="Bounded retry",
                definition=f"Of the newest {STEPS:,} steps: the share that took no more attempts"
                " than their policy, their reviews and the crashes that are survived allow.",
                threshold=1.0,
                measure=self.bounded_retry,
            ),
            IndicatorSpec(
                name="deterministic_spine",
                title="Deterministic spine",
                definition=f"Of the newest {PROCESSES:,} processes, those that were replayed: the"
                " share that neither diverged from its journal nor asked with another input.",
                threshold=0.99,
                measure=deterministic_spine,
            ),
            IndicatorSpec(
                name="observability",
                title="Observability",
                definition=f"Of the newest {STEPS:,} steps, without those under way or ended with"
                " their process: the share whose outcome is on record, and whose failure is"
                " explained.",
                threshold=0.99,
                measure=observability,
            ),
            IndicatorSpec(
                name="human_oversight",
                title="Human oversight",
                definition=f"Of the newest {STEPS:,} steps, the calls of tools that write or"
                " destroy: the share that a person confirmed, or a policy of this server allows.",
                threshold=1.0,
                measure=self.human_oversight,
            ),
        ]

    async def bounded_retry(self, persistence: Persistence) -> Measurement:
        before = await before_newest(persistence, "step", STEPS)
        total = await _count(persistence, before, "1 = 1")
        cases: list[Case] = []
        rows = await persistence.fetch_all(
            f"SELECT kind, name, attempt, process_id, key FROM step WHERE {_NEWEST}"  # noqa: S608
            " AND attempt > 1 ORDER BY id DESC",
            (before,),
        )
        for row in rows:
            allowed = self._attempts(row["kind"], row["name"]) + self._settings.max_restarts
            if row["attempt"] > allowed:
                allowed += await _reviews(persistence, row)
            if row["attempt"] > allowed:
                text = f"{row['kind']} '{row['name']}' took {row['attempt']} attempts of {allowed}"
                cases.append(Case(text, row["process_id"]))
        return _measured(total, cases)

    async def human_oversight(self, persistence: Persistence) -> Measurement:
        risky = {spec.name: spec for spec in self._tools if spec.risk != "read_only"}
        names = ", ".join("?" * len(risky))
        if not risky:
            return Measurement(0, 0)
        before = await before_newest(persistence, "step", STEPS)
        rows = await persistence.fetch_all(
            "SELECT s.key, s.name, s.status, s.error, s.process_id, p.user_id, p.capability,"  # noqa: S608
            " p.version, EXISTS (SELECT 1 FROM step c WHERE c.process_id = s.process_id"
            " AND c.kind = 'interrupt' AND c.status = 'completed'"
            " AND c.key = s.key || ? || s.digest AND c.output = ?) AS confirmed"
            " FROM step s LEFT JOIN process p ON p.pid = s.process_id"
            f" WHERE s.{_NEWEST} AND s.kind = 'tool' AND s.name IN ({names}) ORDER BY s.id DESC",
            (CONFIRM, '"yes"', before, *risky),
        )
        called = [row for row in rows if call_status(row["error"], row["status"]) not in UNCOUNTED]
        cases = [
            Case(f"'{row['name']}' ran, and nobody was asked", row["process_id"])
            for row in called
            if not row["confirmed"] and not self._allows(row, risky[row["name"]])
        ]
        return _measured(len(called), cases)

    def _attempts(self, kind: str, name: str) -> int:
        if kind == "llm":
            return self._settings.llm_attempts
        if kind != "tool":
            return MAX_ATTEMPTS  # the policy of such a step is nowhere on record
        spec = self._tools.get(name)
        return spec.retry.attempts if spec is not None and spec.retry is not None else 1

    def _allows(self, row: Row, spec: ToolSpec) -> bool:
        if row["capability"] is None:
            return False
        capability = self._capabilities.find(row["capability"], row["version"])
        policy: Mapping[str, Decision] = capability.tool_policy if capability is not None else {}
        decision = decide(
            self._settings.tool_policy,
            policy,
            spec,
            user=row["user_id"],
            capability=row["capability"],
        )
        return decision == "allow"


async def deterministic_spine(persistence: Persistence) -> Measurement:
    rows = await persistence.fetch_all(_REPLAYED, (PROCESSES,))
    cases: list[Case] = []
    for row in rows:
        if row["divergences"]:
            cases.append(Case("a replay asked for another step than the journal has", row["pid"]))
        elif row["changed"]:
            cases.append(Case("a replay asked for a step with another input", row["pid"]))
    return _measured(len(rows), cases)


async def observability(persistence: Persistence) -> Measurement:
    before = await before_newest(persistence, "step", STEPS)
    rows = await persistence.fetch_all(_INCOMPLETE, (before, OUT_OF_TIME))
    ended = await _count(persistence, before, "status <> 'started'")
    lost = sum(1 for row in rows if row["status"] == "started")
    cases = [
        Case(
            f"{row['kind']} '{row['name']}' "
            + ("has no outcome" if row["status"] == "started" else "failed without a reason"),
            row["process_id"],
        )
        for row in rows
    ]
    return _measured(ended + lost, cases)


async def _count(persistence: Persistence, before: int, condition: str) -> int:
    """Steps that come after `before`; `condition` is SQL of ours."""
    row = await persistence.fetch_one(
        f"SELECT COUNT(*) FROM step WHERE {_NEWEST} AND {condition}",  # noqa: S608
        (before,),
    )
    return int(row[0]) if row is not None else 0


async def _reviews(persistence: Persistence, step: Row) -> int:
    """How often a person had a risky call in doubt made again."""
    prefix = f"{step['key']}.review"
    row = await persistence.fetch_one(
        "SELECT COUNT(*) FROM step WHERE process_id = ? AND SUBSTR(key, 1, ?) = ?",
        (step["process_id"], len(prefix), prefix),
    )
    return int(row[0]) if row is not None else 0


def _measured(total: int, cases: list[Case]) -> Measurement:
    return Measurement(total, total - len(cases), tuple(cases[:MAX_CASES]))
