"""The orchestrator: seven stages from a question to an answer whose citations hold.

It runs again from the top after a crash or an answer, so it touches the world through the mission
only, and everything between those calls is a function of what they returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .stages import critic, synthesizer, traverser
from .stages.calls import Findings
from .stages.integration import integrate
from .stages.intent import classify
from .stages.perception import perceive, refers_back, with_subject_of
from .stages.planner import first_calls, follow_up_calls

if TYPE_CHECKING:
    from mission_system import Mission, Reply

EARLIER = 10
"""Messages looked through for what "it" means."""


async def answer(mission: Mission) -> Reply:
    """Answer one question about the source tree."""
    findings = Findings()
    async with mission.stage("perception"):
        percept = perceive(mission.message)
        if refers_back(percept):
            earlier = await mission.history(EARLIER)
            asked = [message.content for message in earlier if message.role == "user"]
            percept = with_subject_of(percept, asked[::-1])
    async with mission.stage("intent"):
        intent = classify(percept)
    async with mission.stage("planner"):
        calls = first_calls(intent)
    async with mission.stage("traverser"):
        await traverser.run(mission, calls, findings)
        choices = await traverser.settle(mission, intent, findings)
        more = follow_up_calls(intent, findings, choices, for_model=mission.provider != "mock")
        await traverser.run(mission, more, findings)
    async with mission.stage("synthesizer"):
        draft = await synthesizer.write(mission, intent, findings, choices)
    async with mission.stage("critic"):
        draft = await critic.verify(mission, draft, intent.subjects)
    async with mission.stage("integration"):
        return await integrate(mission, intent, draft)
