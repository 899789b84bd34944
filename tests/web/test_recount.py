"""What the server tells of itself is what happened: a history made through the API, with the tools'
own notes, counted again in plain Python from every row there is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from mission_system import (
    Declined,
    Mission,
    OrchestratorSpec,
    Reply,
    Retry,
    ToolFailed,
    ToolSpec,
    hookimpl,
    tool,
)
from mission_system.core.clock import to_datetime
from mission_system.core.node import Node
from mission_system.core.settings import Settings
from mission_system.core.tools import calls
from mission_system.core.tools.call import idempotency_key
from mission_system.web.app import create_app
from mission_system.web.lifespan import lifespan

Json = dict[str, Any]
FOUND = 'a "quoted" fact — naïve'
ATTEMPTS = 3


class Notes:
    """What the tools have seen of their calls, and the capability of its runs."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.attempts: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()

    def plugin(self) -> ModuleType:
        @tool(retry=Retry(attempts=ATTEMPTS, initial_seconds=0))
        def fetch(script: list[str]) -> str:
            """Fail as the script says, then find."""
            key = str(idempotency_key())
            self.attempts[key] += 1
            outcome = script[min(self.attempts[key], len(script)) - 1]
            self.calls["fetch", outcome] += 1
            if outcome == "error":
                raise RuntimeError("no")
            return FOUND

        @tool(risk="write")
        def save(text: str) -> str:
            """Keep."""
            self.calls["save", "success"] += 1
            return text

        async def work(mission: Mission) -> Reply:
            plan = json.loads(mission.message)
            self.runs[mission.pid] += 1
            if plan["drifts"]:
                await mission.tools.fetch(script=["success"] * self.runs[mission.pid])
            for script in plan["scripts"]:
                try:
                    await mission.tools.fetch(script=script)
                except ToolFailed:
                    continue
            if plan["asks"]:
                await mission.clarify("go on?")
            if plan["saves"]:
                try:
                    await mission.tools.save(text="this")
                except Declined:
                    return Reply("not saved")
            if plan["thinks"]:
                await mission.llm().complete("think")
            if plan["fails"]:
                raise RuntimeError("broken")
            return Reply("done", {"citations": plan["cites"]} if plan["cites"] else {})

        @hookimpl
        def register_tools() -> list[ToolSpec]:
            return [fetch, save]

        @hookimpl
        def register_orchestrators() -> list[OrchestratorSpec]:
            free = OrchestratorSpec("free", work, tool_policy={"save": "allow"})
            return [OrchestratorSpec("work", work), free]

        module = ModuleType("history")
        module.__dict__.update(
            register_tools=register_tools, register_orchestrators=register_orchestrators
        )
        return module


SEND = """
mutation ($text: String!, $session: ID, $capability: String) {
  sendMessage(input: {text: $text, sessionId: $session, capability: $capability}) {
    ... on SendMessagePayload { process { pid sessionId } }
    ... on Error { code message } } }
"""
CLARIFY = """
mutation ($id: ID!) { answered: answerClarification(input: {interruptId: $id, answer: "yes"}) {
    __typename ... on Error { code message } } }
"""
CONFIRM = """
mutation ($id: ID!, $approve: Boolean!) {
  answered: answerConfirmation(input: {interruptId: $id, approve: $approve}) {
    __typename ... on Error { code message } } }
"""
WAITING = "{ interrupts(first: 200) { nodes { id kind process { pid sessionId } } } }"
MESSAGES = """
query ($id: ID!) { session(id: $id) { messages(first: 200) { nodes { messageId } } } }
"""
CANCEL = """
mutation ($id: ID!) { cancelProcess(input: {processId: $id}) {
    __typename ... on Error { code message } } }
"""
EDIT = """
mutation ($id: ID!) { editMessage(input: {messageId: $id, content: "said otherwise"}) {
    __typename ... on Error { code message } } }
"""
DELETE = """
mutation ($id: ID!) { deleteMessage(input: {messageId: $id}) {
    __typename ... on Error { code message } } }
"""
FORGET = """
mutation ($id: ID!, $soft: Boolean!) { deleteSession(input: {sessionId: $id, soft: $soft}) {
    __typename ... on Error { code message } } }
"""
GOVERNANCE = """
{ governance {
  tools(hours: 1) { tool totalCalls successRate recentErrors lastUsed }
  memoryLayers { layer backend state rows rowsEstimated lastWrite }
  alignment { name state value total good cases { pid } } } }
"""


@dataclass
class Driver:
    """Makes the history, as a client; keeps what the server will have removed."""

    app: Starlette
    random: Random
    sent: int = 0
    sessions: list[tuple[str, str]] = field(default_factory=list)
    gone: list[Any] = field(default_factory=list)
    gone_steps: list[Any] = field(default_factory=list)

    @property
    def node(self) -> Node:
        return cast(Node, self.app.state.node)

    def http(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", timeout=60)

    async def ask(self, query: str, user: str = "local", **variables: Any) -> Json:
        body = {"query": query, "variables": variables}
        answer = await self.http().post("/graphql", json=body, headers={"X-Mission-User": user})
        found: Json = answer.json()
        assert "errors" not in found, found
        assert '"code"' not in json.dumps(found["data"]), found
        return cast(Json, found["data"])

    async def rows(self, table: str) -> list[Any]:
        return await self.node.database.fetch_all(f"SELECT * FROM {table}")

    def plan(self) -> Json:
        chance = self.random.random
        scripts = [
            self.random.choices(["success", "error"], k=self.random.randint(1, ATTEMPTS))
            for _ in range(self.random.randint(1, 3))
        ]
        cites = self.random.choice([[], [{"text": FOUND}], [{"step": "0"}], [{"text": "nobody"}]])
        return {
            "scripts": scripts,
            "cites": cites,
            "asks": chance() < 0.3,
            "drifts": chance() < 0.2,
            "saves": chance() < 0.3,
            "thinks": chance() < 0.4,
            "fails": chance() < 0.1,
        }

    async def send(self) -> None:
        user, session = self.random.choice(["ann", "bob"]), None
        own = [each for each in self.sessions if each[0] == user]
        if own and self.random.random() < 0.5:
            session = self.random.choice(own)[1]
        capability = self.random.choice(["work", "work", "free"])
        text = json.dumps(self.plan())
        # A session that waits for an answer takes no more: its messages would wait too.
        if session is not None and session in await self.asked(user):
            session = None
        sent = await self.ask(SEND, user, text=text, session=session, capability=capability)
        self.sent += 1
        if session is None:
            self.sessions.append((user, sent["sendMessage"]["process"]["sessionId"]))

    async def asked(self, user: str) -> set[str]:
        found = (await self.ask(WAITING, user))["interrupts"]["nodes"]
        return {each["process"]["sessionId"] for each in found}

    async def answer(self, user: str) -> None:
        for each in (await self.ask(WAITING, user))["interrupts"]["nodes"]:
            if each["kind"] == "CLARIFICATION":
                await self.ask(CLARIFY, user, id=each["id"])
            else:
                approve = self.random.random() < 0.7
                await self.ask(CONFIRM, user, id=each["id"], approve=approve)

    async def cancel(self, user: str) -> None:
        for each in (await self.ask(WAITING, user))["interrupts"]["nodes"][:1]:
            await self.ask(CANCEL, user, id=each["process"]["pid"])

    async def change(self, user: str, session: str) -> None:
        found = (await self.ask(MESSAGES, user, id=session))["session"]["messages"]["nodes"]
        for each in found[:1]:
            query = self.random.choice([EDIT, DELETE])
            await self.ask(query, user, id=str(each["messageId"]))

    async def forget(self, user: str, session: str) -> None:
        soft = self.random.random() < 0.5
        if not soft:
            [number] = [
                row["id"] for row in await self.rows("session") if row["public_id"] == session
            ]
            gone = [row for row in await self.rows("process") if row["session_id"] == number]
            pids = {row["pid"] for row in gone}
            self.gone += gone
            self.gone_steps += [r for r in await self.rows("step") if r["process_id"] in pids]
        await self.ask(FORGET, user, id=session, soft=soft)
        self.sessions.remove((user, session))

    async def live(self) -> None:
        """Some of everything, in an order that chance has chosen once."""
        for _ in range(40):
            await self.send()
            user, session = self.random.choice(self.sessions)
            chance = self.random.random()
            if chance < 0.3:
                await self.answer(user)
            elif chance < 0.4:
                await self.cancel(user)
            elif chance < 0.6:
                await self.change(user, session)
            elif chance < 0.7:
                await self.forget(user, session)


# The same once more, from every row there is.


async def metrics(driver: Driver) -> None:
    processes = [*await driver.rows("process"), *driver.gone]
    states = Counter(
        "terminated" if row["state"] == "zombie" else row["state"]
        for row in await driver.rows("process")
    )
    states["terminated"] += len(driver.gone)
    steps = [*await driver.rows("step"), *driver.gone_steps]
    tokens = {name: sum(row[name] for row in steps) for name in ("tokens_in", "tokens_out")}
    llm_calls = sum(row["kind"] == "llm" for row in steps)
    tool_calls = sum(row["attempt"] for row in steps if row["kind"] == "tool")
    assert len(processes) == driver.sent
    found = (await driver.http().get("/api/v1/metrics")).json()
    assert found == {
        "total_processes": driver.sent,
        "active_processes": driver.sent - states["terminated"],
        "processes_by_state": dict(states),
        "system_llm_calls": llm_calls,
        "system_tool_calls": tool_calls,
        "system_tokens_in": tokens["tokens_in"],
        "system_tokens_out": tokens["tokens_out"],
    }
    scraped = await scrape(driver)
    by_state = {k[1][0][1]: v for k, v in scraped.items() if k[0] == "mission_processes"}
    assert by_state == dict(states)
    assert scraped["mission_requests_total", ()] == driver.sent
    assert scraped["mission_llm_calls_total", ()] == llm_calls
    assert scraped["mission_tokens_total", (("direction", "in"),)] == tokens["tokens_in"]
    assert scraped["mission_tokens_total", (("direction", "out"),)] == tokens["tokens_out"]


async def scrape(driver: Driver) -> dict[Any, float]:
    text = (await driver.http().get("/metrics")).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def counted_since_the_start(driver: Driver, notes: Notes) -> None:
    scraped = await scrape(driver)
    called = {
        (dict(labels)["tool"], dict(labels)["status"]): value
        for (name, labels), value in scraped.items()
        if name == "mission_tool_calls_total"
    }
    assert called == notes.calls
    steps = [*await driver.rows("step"), *driver.gone_steps]
    for kind in ("tool", "llm"):
        count = sum(row["kind"] == kind for row in steps)
        assert scraped["mission_step_seconds_count", (("kind", kind),)] == count
    processes = [*await driver.rows("process"), *driver.gone]
    ended = sum(row["outcome"] in ("completed", "failed") for row in processes)
    assert scraped["mission_turn_seconds_count", ()] == ended


def tool_health(found: list[Json], notes: Notes) -> None:
    shown = {
        each["tool"]: (
            each["totalCalls"],
            round(each["successRate"] * each["totalCalls"]),
            each["recentErrors"],
        )
        for each in found
        if each["totalCalls"]
    }
    expected = {}
    for name in ("fetch", "save"):
        good, bad = notes.calls[name, "success"], notes.calls[name, "error"]
        expected[name] = (good + bad, good, bad)
    assert shown == expected


async def memory_layers(driver: Driver, found: list[Json]) -> None:
    sessions, messages = await driver.rows("session"), await driver.rows("message")
    events, state = await driver.rows("event"), await driver.rows("working_state")
    calls, windows = await driver.rows("tool_call"), await driver.rows("tool_window")
    minutes = [row for row in windows if row["span"] == 60_000_000]
    said = [
        *(row[at] for row in messages for at in ("created_at", "edited_at", "deleted_at")),
        *(row[at] for row in sessions for at in ("created_at", "deleted_at")),
    ]
    used = [*(row["last_at"] for row in windows), *(row["started_at"] for row in calls)]
    expected = {
        "L1": (len(sessions) + len(messages), last(said)),
        "L2": (len(events), last(row["created_at"] for row in events)),
        "L4": (len(state), last(row["updated_at"] for row in state)),
        "L7": (len(minutes) + len(calls), last(used)),
    }
    shown = {
        each["layer"]: (
            each["rows"],
            each["lastWrite"] and datetime.fromisoformat(each["lastWrite"]),
        )
        for each in found
        if each["state"] == "ACTIVE"
    }
    assert shown == expected
    assert not any(each["rowsEstimated"] for each in found)


def last(times: Iterable[int | None]) -> datetime | None:
    at = max((each for each in times if each is not None), default=None)
    return None if at is None else to_datetime(at)


async def alignment(driver: Driver, found: list[Json]) -> None:
    processes = {row["pid"]: row for row in await driver.rows("process")}
    steps = await driver.rows("step")
    of = {pid: [row for row in steps if row["process_id"] == pid] for pid in processes}
    expected = {
        "evidence_chain": evidence(await driver.rows("message"), processes, of),
        "bounded_retry": [
            (row["process_id"], row["attempt"] <= (ATTEMPTS if row["name"] == "fetch" else 3))
            for row in steps
        ],
        "deterministic_spine": [
            (pid, not row["divergences"] and not any(step["input_changed"] for step in of[pid]))
            for pid, row in processes.items()
            if row["epoch"] > (2 if row["outcome"] == "cancelled" else 1)
        ],
        "observability": [
            (row["process_id"], row["status"] != "failed" or row["error"] is not None)
            for row in steps
            if row["status"] != "started"
        ],
        "human_oversight": [
            (
                row["process_id"],
                confirmed(row, of) or processes[row["process_id"]]["capability"] == "free",
            )
            for row in steps
            if (row["kind"], row["name"]) == ("tool", "save")
        ],
    }
    for each in found:
        looked_at = expected.pop(each["name"])
        good = sum(kept for _, kept in looked_at)
        assert (each["total"], each["good"]) == (len(looked_at), good), each["name"]
        assert each["value"] == (good / len(looked_at) if looked_at else None)
        broken = {pid for pid, kept in looked_at if not kept}
        assert {case["pid"] for case in each["cases"]} <= broken
        assert len(each["cases"]) == min(20, len(looked_at) - good)
    assert expected == {}
    states = {each["name"]: each["state"] for each in found}
    assert states == {
        **dict.fromkeys(("bounded_retry", "observability", "human_oversight"), "MET"),
        **dict.fromkeys(("evidence_chain", "deterministic_spine"), "MISSED"),
    }


def evidence(messages: list[Any], processes: Json, of: Json) -> list[tuple[str, bool]]:
    answers = [
        row
        for row in sorted(messages, key=lambda row: -row["id"])
        if row["role"] == "assistant"
        and row["deleted_at"] is None
        and row["pid"] in processes
        and json.loads(row["data"] or "{}").get("citations")
    ][:25]
    found = []
    for row in answers:
        done = [s for s in of[row["pid"]] if s["status"] == "completed"]
        seen = [s for s in done if s["kind"] not in ("llm", "interrupt")]
        kept = True
        for each in json.loads(row["data"])["citations"]:
            if "step" in each:
                kept = kept and each["step"] in {s["key"] for s in seen}
            else:
                values = [json.loads(s["output"]) for s in seen if s["output"]]
                kept = kept and any(each["text"] in str(value) for value in values)
        found.append((row["pid"], kept))
    return found


def confirmed(call: Any, of: Json) -> bool:
    key = f"{call['key']}.confirm.{call['digest']}"
    return any(s["key"] == key and s["output"] == '"yes"' for s in of[call["process_id"]])


async def recount(driver: Driver, notes: Notes) -> None:
    await metrics(driver)
    driver.node.alignment.forget()
    found = (await driver.ask(GOVERNANCE))["governance"]
    tool_health(found["tools"], notes)
    await memory_layers(driver, found["memoryLayers"])
    await alignment(driver, found["alignment"])


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_numbers_are_those_of_a_naive_recount(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "ROUND_SECONDS", 3600.0)  # nothing changes while it is looked at
    notes = Notes()
    settings = Settings(data=tmp_path, shutdown_seconds=0, breaker_policy="off")
    app = create_app(settings, [notes.plugin()])
    async with lifespan(app):
        driver = Driver(app, Random(seed))
        await driver.live()
        assert driver.gone
        outcomes = {row["outcome"] for row in await driver.rows("process")}
        assert outcomes == {"completed", "failed", "cancelled", None}
        await recount(driver, notes)
        await counted_since_the_start(driver, notes)
        await driver.node.roll_up.run()
        await recount(driver, notes)
    app = create_app(settings, [notes.plugin()])
    async with lifespan(app):
        driver.app = app
        await recount(driver, notes)
