"""Answers and what the server makes of them, against a server that is only played."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from mission_system.web.cli.client import Client
from mission_system.web.cli.conversation import COMPLETED, UNANSWERED, Conversation
from mission_system.web.cli.documents import ANSWER, PROCESS
from mission_system.web.cli.terminal import Terminal

Json = dict[str, Any]
ACCEPTED = {"__typename": "AnswerPayload", "process": {"pid": "p1"}}


class PlayedServer(Client):
    """Raises one interrupt, and takes or refuses answers as it is told to."""

    def __init__(self, interrupt: Json, *results: Json) -> None:
        super().__init__(lambda: "http://127.0.0.1:1")
        self.interrupt = {"interrupt_id": "i1", **interrupt}
        self.results = list(results)
        self.answers: list[Json] = []

    async def execute(self, document: str, variables: Json) -> Json:
        if document == PROCESS:
            return {"process": {"outcome": "COMPLETED", "reply": "done"}}
        assert document == ANSWER
        self.answers.append(variables["input"])
        return {"result": self.results.pop(0)}

    async def follow(
        self, document: str, variables: Json, field: str, lost: Callable[[], None]
    ) -> AsyncGenerator[Json, None]:
        yield {"type": "interrupt.raised", "payload": self.interrupt}
        yield {"type": "interrupt.resolved", "payload": {"interrupt_id": "i1"}}


class Typist(Terminal):
    """A person who types prepared lines, then ends the input."""

    def __init__(self, *typed: str, interactive: bool = True) -> None:
        super().__init__()
        self.typed = list(typed)
        self.at_hand = interactive
        self.told: list[str] = []

    @property
    def interactive(self) -> bool:
        return self.at_hand

    def tell(self, text: str, style: str = "dim") -> None:
        self.told.append(text)

    async def read_line(self, prompt: str) -> str | None:
        return self.typed.pop(0) if self.typed else None


def refused(kind: str) -> Json:
    return {"__typename": kind, "message": f"no: {kind}"}


async def test_a_review_is_answered_by_number() -> None:
    review = {"kind": "agent_review", "question": "Again?", "options": ["retry", "done"]}
    server = PlayedServer(review, ACCEPTED)
    assert await Conversation(server, Typist("1")).follow("p1") == COMPLETED
    assert server.answers == [{"interruptId": "i1", "answer": "retry", "wait": False}]


async def test_an_answer_that_does_not_fit_is_asked_for_again() -> None:
    question = {"kind": "clarification", "question": "Which?"}
    server, person = PlayedServer(question, refused("InvalidInput"), ACCEPTED), Typist("x", "y")
    assert await Conversation(server, person).follow("p1") == COMPLETED
    assert [given["answer"] for given in server.answers] == ["x", "y"]
    assert "no: InvalidInput" in person.told


@pytest.mark.parametrize("kind", ["Conflict", "NotFound"])
async def test_a_question_answered_elsewhere_is_not_asked_again(kind: str) -> None:
    server = PlayedServer({"kind": "confirmation", "question": "Go?"}, refused(kind))
    person = Typist("y", "y")
    assert await Conversation(server, person).follow("p1") == COMPLETED
    assert len(server.answers) == 1
    assert f"no: {kind}" in person.told


async def test_a_server_that_takes_no_answer_leaves_the_question_open() -> None:
    server = PlayedServer({"kind": "clarification", "question": "Which?"}, refused("Busy"))
    person = Typist("x", "y")
    assert await Conversation(server, person).follow("p1") == UNANSWERED
    assert person.told[-2:] == ["no: Busy", 'answer it with: mission answer i1 "..."']


async def test_the_hint_repeats_the_options_that_were_given() -> None:
    server = PlayedServer({"kind": "clarification", "question": "Which?"})
    person = Typist(interactive=False)
    options = ["--data", "my data", "--user", "eve"]
    assert await Conversation(server, person, options).follow("p1") == UNANSWERED
    assert person.told[-1] == (
        "answer it with: mission answer i1 \"...\" --data 'my data' --user eve"
    )


def test_a_closed_input_is_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert not Terminal().interactive
