"""Each indicator by cases that keep the promise and cases that break it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from mission_system.core import deadline
from mission_system.core.alignment import evidence
from mission_system.core.alignment import indicator as subject
from mission_system.core.alignment.evidence import resolves
from mission_system.core.alignment.indicator import (
    OWN_INDICATORS,
    Case,
    Indicator,
    IndicatorSpec,
    Measurement,
)
from mission_system.core.capabilities import OrchestratorSpec, Reply
from mission_system.core.clock import SECOND, now
from mission_system.core.errors import Unavailable
from mission_system.core.identity import SYSTEM, Caller
from mission_system.core.node import Node
from mission_system.core.retry import Retry
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.interrupts import CONFIRM
from mission_system.core.tower.journal import Record, store_record
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope, ProcessControlBlock, ProcessState
from mission_system.core.tower.retention import ProcessRetention

ANN = Caller("ann")


@tool
def search(query: str) -> list[str]:
    """Find."""
    return [f'a "quoted" line about {query}', "naïve — text"]


@tool(risk="write")
def save(text: str) -> str:
    """Save."""
    return "saved"


@tool(retry=Retry(attempts=3, initial_seconds=0))
def flaky() -> str:
    """Fail."""
    raise RuntimeError("no")


async def cites(mission: Mission) -> Reply:
    await mission.tools.search(query="bees")
    text = mission.message
    return Reply("see", {"citations": [orjson.loads(text) if text[0] == "{" else {"text": text}]})


async def saves(mission: Mission) -> str:
    return str(await mission.tools.save(text=mission.message))


async def tries(mission: Mission) -> str:
    try:
        return str(await mission.tools.flaky())
    except Exception:
        return "failed"


@pytest.fixture
async def node(start_node: Any) -> Node:
    allowed = OrchestratorSpec("allowed", saves, tool_policy={"save": "allow"})
    started: Node = await start_node(
        cites, saves, tries, allowed, tools=[search, save, flaky], max_restarts=1
    )
    return started


async def send(node: Node, message: str, capability: str) -> ProcessControlBlock:
    envelope = Envelope(caller=ANN, message=message, capability=capability)
    process = (await node.tower.submit_request(envelope, wait=20)).process
    assert process is not None
    return process


async def measured(node: Node, name: str) -> Indicator:
    node.alignment.forget()
    return {each.name: each for each in await node.alignment.report(SYSTEM)}[name]


async def step(node: Node, process: ProcessControlBlock | None, **given: Any) -> None:
    """A step in the journal, as none should be."""
    record = Record(
        **{
            "key": "9",
            "kind": "tool",
            "name": "search",
            "digest": "",
            "status": "completed",
            "created_at": now(),
            "output": "1",
            **given,
        }
    )
    pid = process.pid if process is not None else None
    await node.database.write(lambda tx: store_record(tx, pid, record))


async def test_nothing_has_happened_yet(node: Node) -> None:
    found = await node.alignment.report()
    assert tuple(each.name for each in found) == OWN_INDICATORS
    assert {(each.state, each.value, each.total) for each in found} == {("unknown", None, 0)}


async def test_citations_resolve_in_what_steps_have_found(node: Node) -> None:
    await send(node, 'a "quoted" line', "cites")
    await send(node, "naïve — text", "cites")
    assert (await measured(node, "evidence_chain")).value == 1.0
    lost = await send(node, "what nobody has said", "cites")
    found = await measured(node, "evidence_chain")
    assert (found.state, found.total, found.good) == ("missed", 3, 2)
    text = "1 of 1 citations of an answer lead to nothing"
    assert found.cases == (Case(text, lost.pid),)


async def test_processes_are_named_to_administrators_only(node: Node) -> None:
    lost = await send(node, "what nobody has said", "cites")
    node.alignment.forget()
    for caller, pid in ((SYSTEM, lost.pid), (ANN, None), (None, None), (SYSTEM, lost.pid)):
        [evidence, *_] = await node.alignment.report(caller)
        assert [case.pid for case in evidence.cases] == [pid]


@pytest.mark.parametrize(
    ("citation", "holds"),
    [
        ({"step": "0"}, True),
        ({"step": "7"}, False),
        ("bees", True),
        ("wasps", False),
        ({"text": "bees", "path": "nowhere"}, True),
        ({"text": "", "url": "https://bees"}, True),
        ({"text": "wasps", "url": "https://bees"}, False),
        ({"page": 3}, False),
        ("", False),
        (None, False),
        (["bees"], False),
    ],
)
def test_a_citation_names_a_step_or_quotes_one(citation: object, holds: bool) -> None:
    assert resolves(citation, {"0": '["bees", "https://bees"]'}) is holds


async def test_answers_outlive_their_evidence_without_a_case(node: Node) -> None:
    await send(node, "naïve — text", "cites")
    assert (await measured(node, "evidence_chain")).total == 1
    await ProcessRetention(node.database).forget(now() + SECOND, keep=0)
    assert await node.database.fetch_one("SELECT 1 FROM step") is None
    found = await measured(node, "evidence_chain")
    assert (found.state, found.total) == ("unknown", 0)


async def test_a_step_is_named_however_large_and_late_it_is(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "STEPS", 2)
    monkeypatch.setattr(evidence, "BIGGEST", 100)
    large = await send(node, '{"step": "0"}', "cites")
    late = await send(node, '{"step": "9"}', "cites")
    lost = await send(node, '{"step": "10"}', "cites")
    strange = await send(node, r'{"step": "\u0000"}', "cites")
    for process in (large, late, lost, strange):
        await step(node, process, key="1.0", output='"' + "a" * 100 + '"')
        await step(node, process, key="1.1")
        await step(node, process, key="9")
    found = await measured(node, "evidence_chain")
    assert (found.total, found.good) == (4, 2)
    assert {case.pid for case in found.cases} == {lost.pid, strange.pid}


@pytest.mark.parametrize("bound", ["STEPS", "BIGGEST"])
async def test_a_quotation_of_what_is_not_read_is_not_judged(
    node: Node, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    said = await send(node, "what nobody has said", "cites")
    await step(node, said, key="1.0", output=None)
    assert (await measured(node, "evidence_chain")).state == "missed"
    await step(node, said, key="9", output='"what nobody has said"')
    assert (await measured(node, "evidence_chain")).state == "met"
    monkeypatch.setattr(evidence, bound, 1)
    found = await measured(node, "evidence_chain")
    assert (found.state, found.total) == ("unknown", 0)


async def reads(node: Node, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Measurement]:
    """How many statements about steps it takes to measure the chain, and what is found."""
    sent: list[str] = []
    read = node.database.fetch_all

    async def counted(sql: str, params: Any = ()) -> Any:
        if " step s" in sql:
            sent.append(sql)
        return await read(sql, params)

    with monkeypatch.context() as patch:
        patch.setattr(node.database, "fetch_all", counted)
        found = await evidence.measure(node.database)
    return len(sent), found


async def test_the_evidence_of_many_answers_is_read_at_once(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "STEPS", 2)
    for total in (4, 8):
        for text in ("naïve — text", '{"step": "0"}', '{"step": "9"}', '{"step": "10"}'):
            process = await send(node, text, "cites")
            for key in ("1.0", "1.1", "9"):
                await step(node, process, key=key)
        count, found = await reads(node, monkeypatch)
        assert (count, found.total, found.good) == (3, total, total * 3 // 4)
    monkeypatch.setattr(evidence, "AT_ONCE", 1)  # so that no two are held together
    count, same = await reads(node, monkeypatch)
    assert (count, same) == (4, found)


async def test_retries_within_their_policy_are_bounded(node: Node) -> None:
    process = await send(node, "hi", "tries")
    assert (await measured(node, "bounded_retry")).state == "met"
    await step(node, process, key="8", name="flaky", attempt=4)  # 3, and a crash that is survived
    assert (await measured(node, "bounded_retry")).state == "met"
    await step(node, process, name="flaky", attempt=5)
    found = await measured(node, "bounded_retry")
    assert (found.state, found.total - found.good) == ("missed", 1)
    assert found.cases == (Case("tool 'flaky' took 5 attempts of 4", process.pid),)
    # Somebody has looked, and had it made again.
    await step(node, process, key="9.review4", kind="interrupt", name="agent_review")
    assert (await measured(node, "bounded_retry")).state == "met"


async def test_replays_that_ask_with_another_input_are_told(node: Node) -> None:
    asked = await send(node, "hi", "saves")
    assert asked.pending is not None
    await node.tower.resume_request(ANN, asked.pending.id, "yes", wait=20)
    found = await measured(node, "deterministic_spine")
    assert (found.state, found.total) == ("met", 1)
    await node.database.write(lambda tx: tx.execute("UPDATE step SET input_changed = ?", (True,)))
    found = await measured(node, "deterministic_spine")
    assert (found.total, found.good) == (1, 0)
    assert found.cases[0].pid == asked.pid


@pytest.mark.parametrize("act", ["resume", "cancel"])
async def test_a_divergence_is_remembered_whatever_is_done_about_it(
    start_node: Any, act: str
) -> None:
    name = "old"

    async def work(mission: Mission) -> str:
        await mission.step(name, asyncio.sleep, 0)
        return await mission.clarify("go on?")

    node: Node = await start_node(work)
    asked = await send(node, "hi", "work")
    assert asked.pending is not None
    name = "new"
    await node.tower.resume_request(ANN, asked.pending.id, "go", wait=20)
    assert (await measured(node, "deterministic_spine")).good == 0
    name = "old"
    if act == "resume":
        await node.tower.resume_process(ANN, asked.pid)
        assert (await node.tower.wait(ANN, asked.pid, 20)).reply == "go"
    else:
        await node.tower.cancel_request(ANN, asked.pid)
    found = await measured(node, "deterministic_spine")
    assert (found.total, found.good) == (1, 0)
    assert found.cases[0].pid == asked.pid


async def test_a_process_that_is_cancelled_in_its_first_run_was_not_replayed(node: Node) -> None:
    asked = await send(node, "hi", "saves")
    await node.tower.cancel_request(ANN, asked.pid)
    assert (await measured(node, "deterministic_spine")).total == 0


async def test_steps_without_an_outcome_or_a_reason_are_told(node: Node) -> None:
    process = await send(node, "bees", "cites")
    assert (await measured(node, "observability")).value == 1.0
    waiting = await send(node, "hi", "saves")
    assert waiting.state is ProcessState.WAITING
    await step(node, waiting, status="started", output=None)  # under way: says nothing yet
    assert (await measured(node, "observability")).value == 1.0
    await step(node, process, key="8", status="started", output=None)
    await step(node, process, key="9", status="failed", output=None)
    found = await measured(node, "observability")
    assert {case.text for case in found.cases} == {
        "tool 'search' has no outcome",
        "tool 'search' failed without a reason",
    }
    assert found.total - found.good == 2


@pytest.mark.parametrize("how", ["cancelled", "out of time"])
async def test_what_was_cut_short_on_purpose_is_no_case(start_node: Any, how: str) -> None:
    called, tidied = asyncio.Event(), asyncio.Event()

    @tool(risk="write")
    async def save() -> str:
        """Save."""
        called.set()
        try:
            await asyncio.Event().wait()
        finally:
            tidied.set()
        raise AssertionError("unreachable")

    async def work(mission: Mission) -> str:
        return str(await mission.tools.save())

    capability = OrchestratorSpec("work", work, tool_policy={"save": "allow"})
    hurry = {"timeout_seconds": 0.3, "soft_timeout_seconds": 0.2} if how == "out of time" else {}
    node: Node = await start_node(capability, tools=[save], quota=hurry)
    sent = await node.tower.submit_request(Envelope(caller=ANN, message="hi", capability="work"))
    assert sent.process is not None
    await called.wait()
    if how == "cancelled":
        await node.tower.cancel_request(ANN, sent.process.pid)
    ended = await node.tower.wait(ANN, sent.process.pid, 20)
    await tidied.wait()
    assert ended.state is ProcessState.TERMINATED
    row = await node.database.fetch_one("SELECT status FROM step WHERE name = 'save'")
    assert row is not None
    assert row["status"] == "started"
    found = await measured(node, "observability")
    assert found.cases == ()
    assert found.good == found.total


async def test_risky_calls_were_confirmed_or_allowed(node: Node) -> None:
    asked = await send(node, "hi", "saves")
    assert (await measured(node, "human_oversight")).state == "unknown"
    assert asked.pending is not None
    await node.tower.resume_request(ANN, asked.pending.id, "yes", wait=20)
    await send(node, "hi", "allowed")
    found = await measured(node, "human_oversight")
    assert (found.state, found.total) == ("met", 2)
    unasked = await send(node, "bees", "cites")
    await step(node, unasked, name="save")
    await node.runtime.tool_executor.execute("save", {"text": "outside"})
    found = await measured(node, "human_oversight")
    assert (found.state, found.total, found.good) == ("missed", 4, 2)
    assert found.cases[0].text == "'save' ran, and nobody was asked"
    assert {case.pid for case in found.cases} == {unasked.pid, None}


@pytest.mark.parametrize("answer", ["yes", "no"])
async def test_a_call_is_confirmed_by_a_yes_to_that_very_call(node: Node, answer: str) -> None:
    asked = await send(node, "hi", "saves")
    assert asked.pending is not None
    await node.tower.resume_request(ANN, asked.pending.id, answer, wait=20)
    assert (await measured(node, "human_oversight")).state == (
        "met" if answer == "yes" else "unknown"
    )

    # The call as a server would make it that does not look at the answer, or at what was shown.
    row = await node.database.fetch_one("SELECT key FROM step WHERE kind = 'interrupt'")
    assert row is not None
    asked_at, _, digest = row["key"].partition(CONFIRM)
    await node.database.write(lambda tx: tx.execute("DELETE FROM step WHERE kind = 'tool'"))
    shown = digest if answer == "no" else "another"
    await step(node, asked, key=asked_at, name="save", digest=shown)
    found = await measured(node, "human_oversight")
    assert (found.state, found.total, found.good) == ("missed", 1, 0)
    assert found.cases == (Case("'save' ran, and nobody was asked", asked.pid),)


async def test_a_step_is_kept_with_the_input_of_its_last_attempt(node: Node) -> None:
    asked = await send(node, "hi", "saves")
    await step(node, asked, key="0", name="save", digest="first", status="started")
    await step(node, asked, key="0", name="save", digest="second", attempt=2)
    row = await node.database.fetch_one("SELECT digest FROM step WHERE kind = 'tool'")
    assert row is not None
    assert row["digest"] == "second"  # which the yes to it is found by


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (RuntimeError("secret"), "it could not be measured; the server's log says why"),
        (Unavailable("the index is being built"), "the index is being built"),
        (None, "not measured within 0.05 s"),
    ],
)
async def test_an_indicator_of_a_plugin_that_fails_or_hangs_says_so(
    node: Node, monkeypatch: pytest.MonkeyPatch, problem: Exception | None, message: str
) -> None:
    async def measure(_: object) -> Measurement:
        if problem is not None:
            raise problem
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    if problem is None:
        monkeypatch.setattr(subject, "MEASURE_SECONDS", 0.05)
    spec = IndicatorSpec(
        name="tidy", title="Tidy", definition="Of all.", threshold=0.5, measure=measure
    )
    node.alignment.register(spec)
    found = await measured(node, "tidy")
    assert (found.state, found.value, found.message) == ("failed", None, message)
    with pytest.raises(ValueError, match="registered already"):
        node.alignment.register(spec)


async def test_an_indicator_of_a_plugin_is_judged_like_the_others(node: Node) -> None:
    looks = 0

    async def measure(_: object) -> Measurement:
        nonlocal looks
        looks += 1
        return Measurement(4, 2, tuple(Case(f"case {n}") for n in range(30)))

    node.alignment.register(
        IndicatorSpec(name="tidy", title="T", definition="D.", threshold=0.5, measure=measure)
    )
    found = [await node.alignment.report() for _ in range(5)][-1][-1]
    assert (found.name, found.state, found.value, len(found.cases)) == ("tidy", "met", 0.5, 20)
    assert looks == 1
    with pytest.raises(ValueError, match="not 0 to 1"):
        IndicatorSpec(name="x", title="T", definition="D.", threshold=2, measure=measure)


async def test_a_measurement_that_takes_no_notice_of_its_cancellation_is_left_alone(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "MEASURE_SECONDS", 0.05)
    monkeypatch.setattr(deadline, "GRACE_SECONDS", 0.05)
    begun = 0

    async def measure(_: object) -> Measurement:
        nonlocal begun
        begun += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()
        raise AssertionError("unreachable")

    node.alignment.register(
        IndicatorSpec(name="stubborn", title="T", definition="D.", threshold=0.5, measure=measure)
    )
    async with asyncio.timeout(30):
        for _ in range(2):
            found = await measured(node, "stubborn")
            assert (found.state, found.message) == ("failed", "not measured within 0.05 s")
    assert begun == 1
