"""What an orchestrator is handed: the message, and every way to ask, to tell and to act."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from ..capabilities import Reply
from ..chat.text import MAX_ID, checked
from ..errors import InvalidInput
from ..events.event import NewEvent
from ..llm.provider import LLMMessage
from ..prompts import Prompt
from ..retry import Retry
from .branches import Branch, current_branch, join, within
from .codec import adapter_of, declared_return, plain
from .effects import Run
from .interrupts import Declined, Question
from .mission_llm import LLM
from .mission_sleep import sleep
from .mission_spawn import spawn
from .mission_state import State
from .mission_tools import Tools
from .process import InterruptKind, Quota
from .steps import Done
from .suspension import Suspended

T = TypeVar("T")

_TIME: TypeAdapter[datetime] = TypeAdapter(datetime)
_HISTORY: TypeAdapter[list[LLMMessage]] = TypeAdapter(list[LLMMessage])


class Mission:
    """One request, from an orchestrator's point of view.

    Whatever must not be repeated after a crash goes through here: each such call is a step, and
    its recorded result is what a replayed orchestrator gets. Between the calls an orchestrator
    must be deterministic: take time, chance and ids from the mission too.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        process = run.process
        self.pid = process.pid
        self.session_id = process.session_id
        self.user_id = process.user_id
        self.capability = process.capability
        self.message = process.message
        self.context: dict[str, Any] = run.context
        self.provider = run.provider
        """Name of the LLM provider that this process started with: the first for the role that is
        named like its capability. `mock` where no model is asked."""
        self.tools = Tools(run)
        self.state = State(run)

    @property
    def quota(self) -> Quota:
        """What this process may use as it is now. It may be adjusted at any time, so a replay may
        see another one: good for what to say, say in a prompt, but not for which steps to take.
        Those are refused where there is no room, and stay so."""
        return self._run.meter.quota

    @property
    def llm_calls(self) -> int:
        """LLM calls of the quota that the calls took whose outcome is here: each of their attempts
        is one. The same on a replay, whatever was called again meanwhile."""
        return self._run.llm_calls

    def llm(self, role: str = "default") -> LLM:
        """The model that plays `role` (`writer`, `planner`, ...)."""
        return LLM(self._run, role)

    def config(self, name: str) -> Any:
        """A registered config, for the whole process as it was when first read here.

        It is journaled by its type (JSON values, dataclasses, pydantic models), so a replay sees
        what the first run saw. One that does not come back from JSON as it was, such as a client
        or what holds a secret, is handed out as it is registered now.

        Raises KeyError naming the choices.
        """
        registry = self._run.runtime.config_registry
        return self._run.snapshot("config", name, lambda: registry.get(name))

    def prompt(self, name: str, /, **values: object) -> str:
        """A registered prompt with the values in the places of its `$placeholders`.

        Of which version, and with which text, is journaled when the process first reads it: a
        replay sees the same, whatever the settings or another release say by then.

        Raises KeyError naming the choices, and TypeError for a placeholder without a value.
        """
        registry = self._run.runtime.prompts
        prompt = self._run.snapshot("prompt", name, lambda: registry.choose(name), Prompt)
        return cast(Prompt, prompt).fill(values)

    def service(self, name: str) -> Any:
        """A service of a plugin, as it is now: what it does to the world belongs into a step.

        Raises KeyError naming the choices, and Unavailable where it failed to start.
        """
        return self._run.runtime.services.get(name)

    async def clarify(
        self, question: str, *, options: Sequence[str] = (), timeout: float | None = None
    ) -> str:
        """Ask the user; suspends the process until the answer is here, for 24 hours at most.

        `options` are suggestions: any text may come back. `timeout` (seconds) makes it shorter. An
        `asyncio.timeout` around a question does not: it starts anew with each run, and so counts
        running time only.

        Raises:
            InterruptExpired: nobody answered in time.
        """
        kind = InterruptKind.CLARIFICATION
        return await self._run.ask(Question(kind, question, tuple(options), timeout))

    async def confirm(self, question: str, *, timeout: float | None = None) -> bool:
        """Ask the user for a yes or no; suspends the process, for an hour at most.

        Raises:
            InterruptExpired: nobody answered in time.
        """
        kind = InterruptKind.CONFIRMATION
        return await self._run.ask(Question(kind, question, timeout=timeout)) == "yes"

    async def review(
        self,
        text: str,
        *,
        options: Sequence[str] = (),
        timeout: float | None = None,
    ) -> str:
        """Have a person look at something and choose; suspends, for 30 minutes at most.

        One of `options` comes back: `approve` or `reject` where none are given.

        Raises:
            InterruptExpired: nobody answered in time.
        """
        kind = InterruptKind.AGENT_REVIEW
        return await self._run.ask(Question(kind, text, tuple(options), timeout))

    async def checkpoint(self, text: str) -> None:
        """Wait until a person says to go on, however long that takes.

        Raises:
            Declined: they said stop.
        """
        if await self._run.ask(Question(InterruptKind.CHECKPOINT, text)) != "continue":
            raise Declined(f"the user stopped the work at: {text}")

    async def step(
        self,
        name: str,
        fn: Callable[..., Awaitable[T] | T],
        *args: Any,
        retry: Retry | None = None,
        **kwargs: Any,
    ) -> T:
        """Run `fn` once and journal what it gives, encoded by its declared return type.

        With `retry`, a failure is tried again, and the last one counts.

        A sync function runs in a thread; when the process is cancelled the thread is abandoned.

        Raises:
            StepError: `fn` raised; the same again on every replay.
            CancelledError: the orchestrator cancelled it itself, say by `asyncio.timeout`. On a
                replay `fn` is not called, and the step waits to be cancelled in the same way.
        """
        adapter = adapter_of(declared_return(fn))

        async def call(_key: str, _attempt: int) -> Done:
            if iscoroutinefunction(fn):
                return Done(await fn(*args, **kwargs))
            value = await self._run.runtime.threads.run(lambda: fn(*args, **kwargs), timeout=None)
            return Done(await value if isinstance(value, Awaitable) else value)

        inputs = [args, kwargs]
        return cast(T, await self._run.perform("step", name, inputs, adapter, call, retry=retry))

    async def spawn(
        self,
        capability: str,
        message: str,
        *,
        context: dict[str, Any] | None = None,
        quota: Quota | None = None,
    ) -> Reply:
        """Have another capability, or this one again, do a part; its reply.

        The child is a process of the same session with a journal of its own; this one is suspended
        until it has ended, and holds no slot meanwhile. What this process may still use is divided
        evenly among the children that it waits for at once, and itself where it waits for an answer
        or sleeps too; `quota` is the most that this child gets. What they use counts here too, and
        what they leave comes back when they end. Questions of the child go to the user. Its reply
        is no message of the session. `quota` bounds its time; an `asyncio.timeout` around this does
        not, as with a question.

        Raises:
            ChildFailed: it failed or was cancelled, or its capability is not served.
            InvalidInput: the message.
            QuotaExceeded: `max_steps` is reached, or the setting `max_depth`.
        """
        return await spawn(self._run, capability, message, context or {}, quota)

    async def gather(self, *coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run branches at the same time; their results in order.

        All of them end before anything is raised: a suspension first, else the first error in
        order. So a replay sees the same, whichever finished first.
        """
        parent = current_branch()
        try:
            key = parent.next_key()
        except BaseException:
            for coroutine in coroutines:
                coroutine.close()
            raise
        place = key.removeprefix(parent.path)
        tasks = [
            asyncio.create_task(_in_branch(parent, f"{place}.{number}", coroutine))
            for number, coroutine in enumerate(coroutines)
        ]
        try:
            return await join(parent, tasks)
        finally:
            for coroutine in coroutines:  # those cancelled before they began
                coroutine.close()

    @asynccontextmanager
    async def branch(self, name: str) -> AsyncIterator[None]:
        """Steps inside get keys of their own path; lets a task of the author's own take steps.

        Names are unique within the enclosing branch.
        """
        if not name or "/" in name or len(name) > 64:
            raise InvalidInput("name", "a branch name has 1 to 64 characters and no '/'")
        with within(current_branch().child(name)):
            yield

    @asynccontextmanager
    async def stage(self, name: str) -> AsyncIterator[None]:
        """A named part of the work, shown to the user while it runs. Entering it is a hop.

        Raises:
            QuotaExceeded: `max_agent_hops` is reached.
        """
        checked("name", name, longest=MAX_ID)
        run = self._run
        branch = current_branch()
        key = branch.next_key()
        await run.count(branch, key, "stage", name, "agent_hops")
        run.ledger.enter(name)
        run.ledger.tell(NewEvent("stage.started", {"stage": name}, self.pid, key))
        began = time.monotonic()
        try:
            yield
        except Suspended:
            raise
        except BaseException:
            run.ledger.leave(name)
            raise
        run.ledger.leave(name)
        if branch.suspended is None:
            payload = {"stage": name, "seconds": round(time.monotonic() - began, 6)}
            run.ledger.tell(NewEvent("stage.completed", payload, self.pid, key))

    async def rounds(self) -> AsyncIterator[int]:
        """Numbers from 1, for a loop that must end.

        Raises:
            QuotaExceeded: `max_iterations` is reached.
        """
        number = 0
        while True:
            number += 1
            branch = current_branch()
            await self._run.count(branch, branch.next_round(), "rounds", "rounds", "iterations")
            yield number

    async def sleep(self, seconds: float) -> None:
        """Wait until `seconds` after the first time this was reached, whatever restarts between.

        More than a second suspends the process: it holds no slot, and the time is not charged.

        Raises:
            InvalidInput: `seconds` is below 0, or more than a hundred years.
            QuotaExceeded: `max_steps` is reached.
        """
        await sleep(self._run, seconds)

    async def now(self) -> datetime:
        """The time at which this was first reached, UTC."""

        async def call(_key: str, _attempt: int) -> Done:
            return Done(datetime.now(UTC))

        return cast(datetime, await self._run.perform("now", "now", None, _TIME, call))

    def random(self) -> random.Random:
        """A generator seeded by the process and the place: the same numbers on every replay."""
        return random.Random(f"{self.pid}:{current_branch().next_key()}")  # noqa: S311

    def uuid(self) -> uuid.UUID:
        """An id made from the process and the place: the same on every replay."""
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{self.pid}:{current_branch().next_key()}")

    async def history(self, limit: int = 20) -> list[LLMMessage]:
        """The session's messages before this one, oldest first, at most `limit` (1 to 200)."""
        if not 1 <= limit <= 200:
            raise InvalidInput("limit", "must be between 1 and 200")
        run = self._run

        async def call(_key: str, _attempt: int) -> Done:
            rows = await run.persistence.fetch_all(
                # By turns: the reply to an earlier message may be stored after this message was.
                "SELECT m.role, m.content FROM message m LEFT JOIN process q ON q.pid = m.pid"
                " WHERE m.session_id = ? AND COALESCE(q.message_id, m.id) < ?"
                " AND m.deleted_at IS NULL"
                " ORDER BY COALESCE(q.message_id, m.id) DESC, m.id DESC LIMIT ?",
                (run.owner.stream, run.process.message_id, limit),
            )
            return Done([LLMMessage(row["role"], row["content"]) for row in reversed(rows)])

        return cast(
            "list[LLMMessage]", await run.perform("history", "history", limit, _HISTORY, call)
        )

    async def emit(self, name: str, payload: dict[str, Any]) -> None:
        """Append an event of the capability's own, `<capability>.<name>`, once.

        Raises:
            InvalidInput, NotEncodable: the name, or a payload without a JSON form.
        """
        type = checked("name", f"{self.capability}.{name}", longest=MAX_ID)
        payload = plain(f"the payload of event '{type}'", payload)
        key = current_branch().next_key()
        await self._run.ledger.commit(NewEvent(type, payload, self.pid, key))


async def _in_branch(parent: Branch, name: str, coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        branch = parent.child(name)
    except BaseException:
        coroutine.close()
        raise
    with within(branch):
        return await coroutine
