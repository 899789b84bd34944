"""Follows one process from the terminal: shows it, answers its questions, ends with its reply."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from ...core.errors import MissionError
from ...core.identity import new_id
from .client import Client, Refused
from .documents import CANCEL, EVENTS, PROCESS, SEND
from .options import answer_command
from .progress import Progress
from .questions import BadAnswer, NoLongerOpen, Question, send_answer
from .terminal import Terminal

COMPLETED, FAILED, UNANSWERED, INTERRUPTED = 0, 1, 3, 130
"""Exit codes: 2 is for what kept a command from starting at all."""

CANCEL_SECONDS = 5.0


class Conversation:
    """One request in one terminal. Both methods return an exit code; cancelling them cancels the
    process on the server. `options` are those that another command needs to come to the same
    server as the same user."""

    def __init__(self, client: Client, terminal: Terminal, options: Sequence[str] = ()) -> None:
        self._client = client
        self._terminal = terminal
        self._options = options
        self._progress = Progress(terminal)

    async def send(self, text: str, session: str | None, capability: str | None) -> int:
        """Send a message and see its process through."""
        # Our own id: the process can be cancelled by it before we have heard of its pid.
        request_id = new_id()
        given = {
            "text": text,
            "sessionId": session,
            "capability": capability,
            "requestId": request_id,
            "wait": False,
        }
        try:
            result = (await self._client.execute(SEND, {"input": given}))["result"]
            if "message" in result:
                raise Refused(result["message"])
            process = result["process"]
            self._terminal.tell(f"session {process['sessionId']}, process {process['pid']}")
            return await self.follow(process["pid"])
        except asyncio.CancelledError:
            await self._cancel(request_id)
            raise

    async def follow(self, pid: str, *, answered: str | None = None) -> int:
        """See a process through. With `answered`, what came before the answer to that interrupt
        is not told again."""
        events = self._client.follow(
            EVENTS,
            {"id": pid, "after": None},
            "processEvents",
            lambda: self._terminal.tell("the connection is lost; trying again"),
        )
        async with aclosing(events):
            async for event in events:
                type, payload = event["type"], event["payload"]
                if answered is not None:
                    if type == "interrupt.resolved" and payload["interrupt_id"] == answered:
                        answered = None
                    continue
                self._progress.show(type, payload)
                if type == "interrupt.raised" and not await self._answered(payload):
                    return UNANSWERED
                if type == "process.state_changed" and payload["to"] == "blocked":
                    reason = payload.get("reason") or "for a reason it does not name"
                    if reason == "child":  # it goes on by itself
                        continue
                    self._terminal.tell(f"process {pid} is blocked: {reason}", "bold red")
                    return FAILED
        return await self._ended(pid)

    async def _answered(self, payload: dict[str, Any]) -> bool:
        """Whether the events go on: the question is answered, here or elsewhere, or expired."""
        question = Question.of_event(payload)
        if not self._terminal.interactive:
            question.show(self._terminal)
            return self._left_open(question)
        while (answer := await question.ask(self._terminal)) is not None:
            try:
                await send_answer(self._client, question.id, answer)
            except BadAnswer as error:
                self._terminal.tell(error.message, "yellow")
                continue
            except NoLongerOpen as error:
                self._terminal.tell(error.message)
            except Refused as error:
                # No event will come of it: waiting for one would never end.
                self._terminal.tell(error.message, "bold red")
                break
            return True
        return self._left_open(question)

    def _left_open(self, question: Question) -> bool:
        self._terminal.tell(f"answer it with: {answer_command(question.id, self._options)}")
        return False

    async def _ended(self, pid: str) -> int:
        process = (await self._client.execute(PROCESS, {"id": pid}))["process"]
        if process["outcome"] == "COMPLETED":
            self._progress.finish(process["reply"] or "")
            return COMPLETED
        why = process["error"] or process["reason"] or "without a reason"
        self._terminal.tell(f"{process['outcome'].lower()}: {why}", "bold red")
        return FAILED

    async def _cancel(self, id: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._client.execute(CANCEL, {"input": {"processId": id}})
        except (MissionError, TimeoutError) as error:
            self._terminal.tell(f"not cancelled on the server: {error}", "bold red")
        else:
            self._terminal.tell("cancelled")
