"""What a request can come to, shown without a model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from ....core.errors import MissionError

if TYPE_CHECKING:
    from ....core.tower.mission import Mission


class FailureRequested(MissionError):
    """The user asked to see a failure."""

    code = "FAILURE_REQUESTED"


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
