"""Puts a process's questions to the person at the terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from .client import Client, Refused
from .documents import ANSWER, INTERRUPT, QUESTIONS
from .terminal import Terminal

YES = ("y", "yes")
NO = ("n", "no")


class BadAnswer(Refused):
    """The answer does not fit the question; another may."""


class NoLongerOpen(Refused):
    """Nobody waits for this answer any more."""


REFUSALS = {"InvalidInput": BadAnswer, "Conflict": NoLongerOpen, "NotFound": NoLongerOpen}


@dataclass(frozen=True, slots=True)
class Question:
    """What a process waits for. `options` are suggestions where `kind` is `clarification`, and
    the only answers where it is another."""

    id: str
    kind: str
    text: str
    options: tuple[str, ...]

    @classmethod
    def of_event(cls, payload: dict[str, Any]) -> Question:
        """From the payload of an `interrupt.raised` event."""
        return cls(
            payload["interrupt_id"],
            payload["kind"],
            payload["question"],
            tuple(payload.get("options") or ()),
        )

    @classmethod
    def of_node(cls, node: dict[str, Any]) -> Question:
        """From an `Interrupt` of the schema."""
        kind, options = node["kind"].lower(), tuple(node["options"])
        return cls(node["interruptId"], kind, node["question"], options)

    @property
    def choices(self) -> list[str]:
        """A line for each option."""
        return [f"  {number}. {option}" for number, option in enumerate(self.options, 1)]

    def show(self, terminal: Terminal) -> None:
        terminal.tell(f"? {self.text}", style="bold")
        for choice in self.choices:
            terminal.tell(choice, style="none")

    async def ask(self, terminal: Terminal) -> str | None:
        """The answer, as the server takes it; None when the person ends the input."""
        self.show(terminal)
        if self.kind == "confirmation":
            return await self._ask_yes_or_no(terminal)
        prompt = "answer: "
        if self.options:
            text = "a text" if self.kind == "clarification" else "its text"
            prompt = f"answer (a number or {text}): "
        while True:
            typed = await terminal.read_line(prompt)
            if typed is None or typed.strip():
                return None if typed is None else self.chosen(typed.strip())

    async def _ask_yes_or_no(self, terminal: Terminal) -> str | None:
        while True:
            typed = await terminal.read_line("yes or no [y/n]: ")
            if typed is None or typed.strip().lower() in YES + NO:
                return typed

    def chosen(self, typed: str) -> str:
        """The option of that number; what is typed where it is no number of one."""
        if typed.isdecimal() and 1 <= int(typed) <= len(self.options):
            return self.options[int(typed) - 1]
        return typed


async def open_questions(client: Client) -> AsyncIterator[Question]:
    """Every question that waits for the caller, oldest first."""
    after: str | None = None
    while True:
        page = (await client.execute(QUESTIONS, {"after": after}))["interrupts"]
        for node in page["nodes"]:
            yield Question.of_node(node)
        if not page["pageInfo"]["hasNextPage"]:
            return
        after = page["pageInfo"]["endCursor"]


async def own_id(client: Client, id: str) -> str:
    """The id that events know an interrupt by, from that or its global one."""
    try:
        found = (await client.execute(INTERRUPT, {"id": id}))["node"]
    except Refused:  # no global id: answering will tell whether it is any
        return id
    return str(found["interruptId"]) if found else id


async def meant(client: Client, interrupt_id: str, typed: str) -> str:
    """The answer to an open question, whose options `questions` shows with numbers."""
    if typed.isdecimal():
        async for question in open_questions(client):
            if question.id == interrupt_id:
                return question.chosen(typed)
    return typed


async def send_answer(client: Client, interrupt_id: str, answer: str) -> str:
    """Answer an interrupt; the pid of its process, which goes on by itself.

    Raises:
        BadAnswer: the question takes another answer, and stays open.
        NoLongerOpen: it is answered, expired or not the caller's.
        Refused: the server takes no answer, for another reason.
    """
    given = {"interruptId": interrupt_id, "answer": answer, "wait": False}
    result = (await client.execute(ANSWER, {"input": given}))["result"]
    if "message" in result:
        raise REFUSALS.get(result["__typename"], Refused)(result["message"])
    pid: str = result["process"]["pid"]
    return pid
