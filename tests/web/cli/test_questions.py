"""Listing open questions, against a server that is only played."""

from __future__ import annotations

from typing import Any

import pytest

from mission_system.web.cli.client import Client
from mission_system.web.cli.documents import QUESTIONS
from mission_system.web.cli.questions import Question, meant, open_questions

Json = dict[str, Any]


def node(number: int) -> Json:
    return {
        "interruptId": f"i{number}",
        "kind": "AGENT_REVIEW",
        "question": f"Is {number} right?",
        "options": ["approve", "reject"],
    }


class Pages(Client):
    """Answers with one question to a page."""

    def __init__(self, count: int) -> None:
        super().__init__(lambda: "http://127.0.0.1:1")
        self.count = count

    async def execute(self, document: str, variables: Json) -> Json:
        assert document == QUESTIONS
        number = int(variables["after"] or 0)
        following = number + 1
        nodes = [node(number)] if self.count else []
        page = {"hasNextPage": following < self.count, "endCursor": str(following)}
        return {"interrupts": {"nodes": nodes, "pageInfo": page}}


async def test_all_pages_of_open_questions_are_read() -> None:
    found = [question async for question in open_questions(Pages(3))]
    assert [question.id for question in found] == ["i0", "i1", "i2"]
    assert found[0] == Question("i0", "agent_review", "Is 0 right?", ("approve", "reject"))
    assert found[0].choices == ["  1. approve", "  2. reject"]


async def test_there_may_be_no_question() -> None:
    assert [question async for question in open_questions(Pages(0))] == []


@pytest.mark.parametrize(
    ("id", "typed", "answer"),
    [
        ("i1", "2", "reject"),
        ("i1", "3", "3"),  # no option has this number
        ("i1", "0", "0"),
        ("i1", "approve", "approve"),
        ("i7", "2", "2"),  # of another user, or answered: the server will say so
    ],
)
async def test_an_answer_may_be_the_number_of_an_option(id: str, typed: str, answer: str) -> None:
    assert await meant(Pages(3), id, typed) == answer
