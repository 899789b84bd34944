"""A server killed with -9 at random moments, again and again, under every kind of load.

In CI for a minute at least, at night for a quarter of an hour. The moments and the load are drawn
from a seed, which is printed; how far things have come at a moment is up to the machine, so a seed
brings back the load, and not every interleaving.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from databases import ChosenDatabases
from websockets.exceptions import WebSocketException

if TYPE_CHECKING:
    from ..conftest import Cli, Server

pytestmark = pytest.mark.timeout(1800)  # most of it in the fixture

BURDEN = Path(__file__).with_name("burden.py")
USERS = ("ann", "bob")
CLIENTS = 8
SESSIONS = 3  # that each user comes back to; other messages make a session of their own
WEIGHTS = {
    "steps": 4,
    "streamed": 4,
    "branches": 3,
    "asks": 3,
    "asks_twice": 3,
    "spends": 3,
    "family": 2,
    "parent": 1,
    "fails": 1,
    "long": 2,
    "patient": 1,
}
PRIORITIES = ("REALTIME", "HIGH", "NORMAL", "LOW", "IDLE")
PATIENT = "Leave this open."
GUARD = 120.0  # seconds, for what must come to an end

CREATE = """
mutation { createSession(input: {}) { ... on CreateSessionPayload { session { sessionId } } } }
"""
SEND = """
mutation ($input: SendMessageInput!) { sendMessage(input: $input) { __typename
  ... on Error { message } } }
"""
CANCEL = """
mutation ($id: ID!) { cancelProcess(input: {processId: $id}) { __typename
  ... on Error { message } } }
"""
QUESTIONS = """
query ($after: String) { interrupts(first: 200, after: $after) {
  nodes { interruptId kind question options } pageInfo { hasNextPage endCursor } } }
"""
ANSWER = """
mutation ($id: ID!, $answer: String!) {
  respondToInterrupt(input: {interruptId: $id, answer: $answer, wait: false}) { __typename
    ... on Error { message } }
}
"""
EVENTS = """
subscription ($session: ID!, $after: String!) {
  sessionEvents(sessionId: $session, after: $after) { cursor seq type pid }
}
"""

Told = tuple[int, str, str | None]
"""Number, type and pid of an event."""


@dataclass(frozen=True, slots=True)
class Request:
    id: str
    user: str
    capability: str
    text: str


@dataclass(frozen=True, slots=True)
class Death:
    """What one kill has left: lines of the trace, the `pid:key` of every step that was recorded as
    finished, and how many processes were running."""

    lines: int
    finished: frozenset[str]
    running: int


@dataclass(repr=False)
class Chaos:
    """The clients of a server that dies; whatever has not been answered they send again."""

    server: Server
    folder: Path
    databases: ChosenDatabases
    seed: int
    requests: dict[str, Request] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    seen: dict[str, list[Told]] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    up: asyncio.Event = field(default_factory=asyncio.Event)
    over: bool = False

    # clients

    async def call(self, query: str, user: str, **variables: Any) -> Any:
        """The one field of a GraphQL operation, from whichever server answers it at last."""
        while True:
            await self.up.wait()
            try:
                [answer] = (await self.server.execute(query, user, **variables)).values()
            except httpx.TransportError:
                await asyncio.sleep(0.02)
            else:
                return answer

    async def client(self, number: int, user: str, sessions: list[str]) -> None:
        random = Random(f"{self.seed} client {number}")
        names, weights = list(WEIGHTS), list(WEIGHTS.values())
        turn = 0
        while not self.over:
            turn += 1
            [capability] = random.choices(names, weights)
            request = Request(f"{number}-{turn}", user, capability, f"{number} says {turn}")
            message = {
                "text": request.text,
                "capability": capability,
                "requestId": request.id,
                "sessionId": random.choice([*sessions, None]),
                "priority": random.choice(PRIORITIES),
                "waitSeconds": random.uniform(0.05, 1.5),
            }
            await self.send(request, message)
            if random.random() < (0.7 if capability == "long" else 0.1):
                result = await self.call(CANCEL, user, id=request.id)
                assert result["__typename"] in ("CancelProcessPayload", "Conflict"), result

    async def send(self, request: Request, message: dict[str, Any]) -> None:
        while True:
            result = await self.call(SEND, request.user, input=message)
            if result["__typename"] != "Busy":
                break
            await asyncio.sleep(0.1)
        # Sent again, the id is in use: by this very request.
        assert result["__typename"] in ("SendMessagePayload", "Conflict"), result
        self.requests[request.id] = request

    async def answer_questions(self, user: str) -> None:
        """Answers all but some, and those later."""
        random = Random(f"{self.seed} answers of {user}")
        while True:
            page: dict[str, Any] = {"hasNextPage": True, "endCursor": None}
            while page["hasNextPage"]:
                found = await self.call(QUESTIONS, user, after=page["endCursor"])
                page = found["pageInfo"]
                for question in found["nodes"]:
                    if question["question"] != PATIENT and random.random() < 0.7:
                        await self.answer(user, question, random)
            await asyncio.sleep(0.05)

    async def answer(self, user: str, question: dict[str, Any], random: Random) -> None:
        review = question["kind"] == "AGENT_REVIEW"
        answer = random.choice(question["options"]) if review else question["options"][0]
        id = question["interruptId"]
        result = await self.call(ANSWER, user, id=id, answer=answer)
        assert result["__typename"] in ("AnswerPayload", "Conflict"), result
        if result["__typename"] == "AnswerPayload":
            self.answers[id] = answer

    async def follow(self, user: str, session: str) -> None:
        """Reads a session's events, and goes on from the cursor whenever it is cut off."""
        events = self.seen[session] = []
        cursor = ""
        while True:
            await self.up.wait()
            try:
                async with self.server.subscribe(
                    EVENTS, user, session=session, after=cursor
                ) as results:
                    async for data in results:
                        event = data["sessionEvents"]
                        cursor = event["cursor"]
                        events.append((event["seq"], event["type"], event["pid"]))
            except (WebSocketException, OSError, EOFError):
                await asyncio.sleep(0.02)

    # the story

    async def run(self, kills: int, seconds: float) -> None:
        """Kill the server at least `kills` times within at least `seconds`, then let clients and
        server come to rest, and stop it."""
        self.up.set()
        sessions = {
            user: [(await self.call(CREATE, user))["session"]["sessionId"] for _ in range(SESSIONS)]
            for user in USERS
        }
        async with asyncio.TaskGroup() as lasting:
            tasks = [lasting.create_task(self.answer_questions(user)) for user in USERS]
            tasks += [
                lasting.create_task(self.follow(user, session))
                for user in USERS
                for session in sessions[user]
            ]
            async with asyncio.TaskGroup() as clients:
                for number in range(CLIENTS):
                    user = USERS[number % len(USERS)]
                    clients.create_task(self.client(number, user, sessions[user]))
                await self.kill(kills, seconds)
                self.over = True
            deadline = time.monotonic() + GUARD
            while (left := self.unsettled()) or not self.all_seen():
                assert time.monotonic() < deadline, left or "a subscriber has not seen all"
                await asyncio.sleep(0.1)
            for task in tasks:
                task.cancel()
        assert self.server.stop() == 0

    # the killer

    async def kill(self, times: int, seconds: float) -> None:
        """Ends with a server that runs."""
        random = Random(f"{self.seed} kills")
        began = time.monotonic()
        while len(self.deaths) < times or time.monotonic() - began < seconds:
            await asyncio.sleep(random.uniform(0.1, 2.0))
            self.up.clear()
            self.die()
            while random.random() < 0.15:  # while it starts, too
                self.server.spawn()
                await asyncio.sleep(random.uniform(0, 1.5))
                self.die()
            await asyncio.to_thread(self.server.start)
            self.up.set()

    def die(self) -> None:
        self.server.kill()
        [(running,)] = self.rows("SELECT count(*) FROM process WHERE state = 'running'")
        finished = self.rows(
            "SELECT process_id || ':' || key FROM step WHERE status IN ('completed', 'failed')"
        )
        lines = len(self.trace())
        self.deaths.append(Death(lines, frozenset(key for (key,) in finished), running))

    # what is left

    def trace(self) -> list[str]:
        file = self.folder / "trace"
        return file.read_text().splitlines() if file.exists() else []

    def rows(self, sql: str) -> list[Any]:
        """From the database itself, whether a server runs or not."""
        return [tuple(row) for row in self.databases.rows(self.folder / "data", sql)]

    def unsettled(self) -> list[Any]:
        """Processes that go on, or wait for an answer that somebody gives."""
        return self.rows(
            "SELECT pid, capability, state FROM process WHERE state NOT IN"
            " ('terminated', 'zombie', 'waiting') UNION ALL"
            " SELECT process_id, question, status FROM interrupt"
            f" WHERE status = 'pending' AND question <> '{PATIENT}'"
        )

    def all_seen(self) -> bool:
        newest = dict(
            self.rows("SELECT s.public_id, t.last_seq FROM session s JOIN stream t ON t.id = s.id")
        )
        return all(told and told[-1][0] >= newest[session] for session, told in self.seen.items())


@pytest.fixture(scope="module")
def chaos(module_cli: Cli, databases: ChosenDatabases, nightly: bool) -> Chaos:
    """What is left of it, the server stopped."""
    module_cli.install("burden", BURDEN.read_text())
    module_cli.environment["MISSION_LLM_PROVIDER"] = "traced"
    module_cli.environment["MISSION_MAX_RESTARTS"] = "1000"  # none of these is to blame
    seed = SystemRandom().getrandbits(32)
    print(f"chaos, seed {seed}")
    with module_cli.server() as server:
        chaos = Chaos(server, module_cli.folder, databases, seed)
        asyncio.run(chaos.run(*((300, 900.0) if nightly else (30, 60.0))))
    print(
        f"{len(chaos.deaths)} kills, {len(chaos.requests)} requests,"
        f" {sum(death.running for death in chaos.deaths)} runs cut short,"
        f" {len(chaos.trace())} effects, {len(chaos.answers)} answers,"
        f" {sum(map(len, chaos.seen.values()))} events seen"
    )
    return chaos


def test_the_kills_hit_work_under_way(chaos: Chaos) -> None:
    """Else the rest would prove nothing."""
    assert len(chaos.deaths) >= 30
    assert sum(death.running > 0 for death in chaos.deaths) >= 10
    effects = Counter(line for line in chaos.trace() if " end" not in line)
    assert max(effects.values()) > 1, "no step was cut short"


def test_every_accepted_request_has_ended_with_a_reason_or_waits_for_its_user(
    chaos: Chaos,
) -> None:
    found = {
        row[0]: row[1:]
        for row in chaos.rows(
            "SELECT p.request_id, p.user_id, p.state, p.outcome, p.reason, p.completed_at,"
            " p.reply_message_id, (SELECT count(*) FROM interrupt i WHERE i.process_id = p.pid"
            " AND i.status = 'pending') FROM process p WHERE p.parent_pid IS NULL"
        )
    }
    assert set(found) == set(chaos.requests)
    for id, request in chaos.requests.items():
        user, state, outcome, reason, completed_at, reply, questions = found[id]
        assert user == request.user
        if state == "waiting":
            assert request.capability == "patient"
            assert (questions, outcome, completed_at) == (1, None, None)
            continue
        assert (state, questions) == ("terminated", 0)
        assert completed_at is not None
        if outcome == "completed":
            assert (reason, reply is None) == (None, False)
        elif outcome == "cancelled":
            assert reason == "cancelled by user"
        else:
            assert (request.capability, outcome, reason) == ("fails", "failed", "tool_failed")


def test_every_child_has_ended_as_its_parent_knows(chaos: Chaos) -> None:
    children = chaos.rows(
        "SELECT c.state, c.outcome, c.reason, c.result, p.outcome, s.status, s.output"
        " FROM process c JOIN process p ON p.pid = c.parent_pid"
        " LEFT JOIN step s ON s.process_id = c.parent_pid AND s.key = c.parent_key"
    )
    assert children
    for state, outcome, reason, result, parents, step, output in children:
        assert state == "terminated"
        if outcome == "completed":
            assert result is not None
            assert (step, output) == ("completed", result)
        else:  # nobody else cancels a child
            assert (outcome, reason, parents) == ("cancelled", "parent_ended", "cancelled")


def test_a_request_sent_again_was_stored_once(chaos: Chaos) -> None:
    said = Counter(
        text
        for (text,) in chaos.rows(
            "SELECT m.content FROM message m JOIN process p ON p.message_id = m.id"
            " WHERE p.parent_pid IS NULL"
        )
    )
    assert said == Counter(request.text for request in chaos.requests.values())
    replies = chaos.rows(
        "SELECT m.pid, count(*) FROM message m WHERE m.role = 'assistant' AND m.data IS NULL"
        " GROUP BY m.pid HAVING count(*) > 1"
    )
    assert replies == []


def test_replies_are_those_of_a_run_that_nothing_has_cut_short(chaos: Chaos) -> None:
    forms = {
        "steps": ["[1, 4, 9, 16, 25, -6] {}"],
        "streamed": ["1 You said: {}"],
        "branches": ["[13, 5, 8] {}"],
        "asks": ["1 blue 4 {}"],
        "asks_twice": ["['blue', 4, True] {}"],
        "spends": ["7 {}", "None {}"],  # a review may have settled for no result
        "family": ["1 ['1 You said: {0}', '1 blue 4 {0}', '4 [1, 4, 9, 16, 25, -6] {0}'] {0}"],
        "parent": ["4 [1, 4, 9, 16, 25, -6] {0}"],
        "long": ["long"],
    }
    for capability, text, reply in chaos.rows(
        "SELECT p.capability, u.content, r.content FROM process p"
        " JOIN message u ON u.id = p.message_id JOIN message r ON r.id = p.reply_message_id"
    ):
        assert reply in [form.format(text) for form in forms[capability]]


def test_no_step_that_was_committed_before_a_kill_ran_again_after_it(chaos: Chaos) -> None:
    settled: dict[str, int] = {}
    for death in chaos.deaths:
        for key in death.finished:
            settled.setdefault(key, death.lines)
    lines = chaos.trace()
    assert settled
    assert [
        line
        for number, line in enumerate(lines)
        if number >= settled.get(line.split()[0], len(lines))
    ] == []


def test_a_finished_step_stays_finished(chaos: Chaos) -> None:
    left = {key for (key,) in chaos.rows("SELECT process_id || ':' || key FROM step")}
    assert left.issuperset(set().union(*(death.finished for death in chaos.deaths)))


def test_an_answer_that_was_accepted_is_the_one_that_counts(chaos: Chaos) -> None:
    stored = dict(chaos.rows("SELECT id, answer FROM interrupt WHERE status = 'resolved'"))
    assert chaos.answers.items() <= stored.items()


def test_events_are_numbered_without_a_gap_or_a_duplicate(chaos: Chaos) -> None:
    streams = chaos.rows("SELECT id, first_seq, last_seq FROM stream")
    numbers: dict[int, list[int]] = {}
    for stream, seq in chaos.rows("SELECT stream_id, seq FROM event ORDER BY stream_id, seq"):
        numbers.setdefault(stream, []).append(seq)
    assert {stream: list(range(first, last + 1)) for stream, first, last in streams} == numbers


def test_a_subscriber_has_seen_each_event_once_over_all_the_kills(chaos: Chaos) -> None:
    assert len(chaos.seen) == len(USERS) * SESSIONS
    for session, told in chaos.seen.items():
        assert told == chaos.rows(
            "SELECT e.seq, e.type, e.pid FROM event e JOIN session s ON s.id = e.stream_id"
            f" WHERE s.public_id = '{session}' ORDER BY e.seq"
        )


def test_events_tell_each_process_from_its_creation_to_its_end(chaos: Chaos) -> None:
    moves: dict[str, list[str]] = {}
    others: Counter[tuple[str, str]] = Counter()
    for pid, type, payload in chaos.rows(
        "SELECT pid, type, payload FROM event WHERE pid IS NOT NULL ORDER BY stream_id, seq"
    ):
        if type == "process.state_changed":
            change = json.loads(payload)
            assert moves.setdefault(pid, ["new"])[-1] == change["from"]
            moves[pid].append(change["to"])
        else:
            others[pid, type] += 1
    for pid, state, outcome, tools, questions in chaos.rows(
        "SELECT p.pid, p.state, p.outcome, (SELECT count(*) FROM step s WHERE s.process_id = p.pid"
        " AND s.kind = 'tool' AND s.status <> 'started'), (SELECT count(*) FROM interrupt i"
        " WHERE i.process_id = p.pid) FROM process p"
    ):
        assert moves[pid][-1] == state
        assert others[pid, "process.created"] == 1
        for ending in ("completed", "failed", "cancelled"):
            assert others[pid, f"process.{ending}"] == (outcome == ending)
        assert others[pid, "tool.completed"] == tools
        assert others[pid, "interrupt.raised"] == questions


def test_text_was_streamed_as_it_was_stored(chaos: Chaos) -> None:
    deltas: dict[tuple[str, str, int], str] = {}
    for pid, payload in chaos.rows(
        "SELECT pid, payload FROM event WHERE type = 'llm.delta' ORDER BY stream_id, seq"
    ):
        delta = json.loads(payload)
        key = (pid, delta["step"], delta["attempt"])
        assert delta["offset"] == len(deltas.setdefault(key, ""))
        deltas[key] += delta["text"]
    calls = chaos.rows(
        "SELECT process_id, key, attempt, output FROM step"
        " WHERE kind = 'llm' AND status = 'completed'"
    )
    assert calls
    for pid, key, attempt, output in calls:
        assert deltas[pid, key, attempt] == json.loads(output)


def test_counters_equal_the_rows(chaos: Chaos) -> None:
    assert (
        chaos.rows(
            "SELECT s.id FROM session s WHERE s.message_count <> (SELECT count(*) FROM message m"
            " WHERE m.session_id = s.id AND m.deleted_at IS NULL)"
        )
        == []
    )
    for row in chaos.rows(
        "SELECT p.epoch, p.tokens_in, p.tokens_out, p.steps, p.tool_calls, p.llm_calls,"
        " COALESCE(sum(s.tokens_in), 0), COALESCE(sum(s.tokens_out), 0), count(s.id),"
        " COALESCE(sum(CASE s.kind WHEN 'tool' THEN 1 END), 0),"
        " COALESCE(sum(CASE s.kind WHEN 'llm' THEN 1 END), 0),"
        " c.tokens_in, c.tokens_out, c.steps, c.tool_calls, c.llm_calls"
        " FROM process p LEFT JOIN step s ON s.process_id = p.pid"
        " LEFT JOIN (SELECT parent_pid, sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out,"
        " sum(steps) AS steps, sum(tool_calls) AS tool_calls, sum(llm_calls) AS llm_calls"
        " FROM process GROUP BY parent_pid) c ON c.parent_pid = p.pid GROUP BY p.pid,"
        " c.tokens_in, c.tokens_out, c.steps, c.tool_calls, c.llm_calls"
    ):
        epoch, counted, own, below = row[0], row[1:6], row[6:11], row[11:16]
        expected = [mine + (theirs or 0) for mine, theirs in zip(own, below, strict=True)]
        assert list(counted[:2]) == expected[:2]
        # What was called again after a crash has been charged again.
        for charged, rows in zip(counted, expected, strict=True):
            assert charged >= rows
        if epoch == 1:
            assert list(counted[3:]) == expected[3:]


def test_what_models_have_taken_is_the_same_for_step_process_user_and_model(chaos: Chaos) -> None:
    """Also of what a kill or a cancellation has cut off."""
    taken = "CAST(sum(tokens_in) AS BIGINT), CAST(sum(tokens_out) AS BIGINT)"
    sources = ("step", "process WHERE parent_pid IS NULL", "usage", "model_usage")
    sums = {of: chaos.rows(f"SELECT {taken} FROM {of}") for of in sources}
    assert all(each == sums["step"] for each in sums.values()), sums
    assert all(amount > 0 for amount in sums["step"][0])
    [(model,)] = chaos.rows("SELECT DISTINCT model FROM model_usage")
    assert model == "traced/echo"


def test_the_log_tells_of_no_failure(chaos: Chaos) -> None:
    """Lines that a kill has cut in two aside, and the tool that always fails."""
    lines = chaos.server.log.read_text().splitlines()
    assert [line for line in lines if '"error"' in line and "broken" not in line] == []
