"""The capability that is there from the start: a conversation with the configured model.

With the mock provider, three commands show what else a request can come to: `/clarify`, `/confirm`
and `/fail`. A real model gets them as the ordinary messages that they are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ...core.capabilities import OrchestratorSpec, Reply
from ...core.errors import MissionError
from ...core.llm.provider import LLMMessage
from ..hookspecs import hookimpl

if TYPE_CHECKING:
    from ...core.tower.mission import Mission

PROMPT_CHARACTERS = 12_000  # at four a token, well below the default of 4,096 input tokens


class FailureRequested(MissionError):
    """The user asked to see a failure."""

    code = "FAILURE_REQUESTED"


@hookimpl
def register_orchestrators() -> list[OrchestratorSpec]:
    return [OrchestratorSpec("assistant", answer, description="Talks with the configured model.")]


async def answer(mission: Mission) -> Reply | str:
    message = mission.message.strip()
    if mission.provider == "mock":
        for command, show in COMMANDS.items():
            if message.startswith(command):
                return await show(mission)
    return await converse(mission)


async def converse(mission: Mission) -> Reply:
    async with mission.stage("answer"):
        room = PROMPT_CHARACTERS - len(mission.message)
        said = newest(await mission.history(), room)
        message = LLMMessage("user", mission.message)
        return await mission.llm("assistant").stream([*said, message])


async def show_clarification(mission: Mission) -> str:
    async with mission.stage("clarify"):
        topic = await mission.clarify("Which topic do you mean?")
    async with mission.stage("answer"):
        return f"You mean: {topic}"


async def show_confirmation(mission: Mission) -> str:
    async with mission.stage("confirm"):
        confirmed = await mission.confirm("Shall I go ahead?")
    async with mission.stage("answer"):
        return "Confirmed: it is done." if confirmed else "Declined: nothing was done."


async def show_failure(mission: Mission) -> str:
    async with mission.stage("fail"):
        raise FailureRequested("this request failed because its message starts with /fail")


COMMANDS: Final[Mapping[str, Callable[[Mission], Awaitable[str]]]] = {
    "/clarify": show_clarification,
    "/confirm": show_confirmation,
    "/fail": show_failure,
}


def newest(history: Sequence[LLMMessage], room: int) -> list[LLMMessage]:
    """The latest messages that fit in `room` characters together, oldest first."""
    start = len(history)
    while start and (room := room - len(history[start - 1].content)) >= 0:
        start -= 1
    return list(history[start:])
