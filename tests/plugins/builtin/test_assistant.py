"""The assistant, against a mission that answers at once. Its journal is tested with the tower."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest

from mission_system.core.capabilities import Reply
from mission_system.core.errors import MissionError
from mission_system.core.llm.mock import MockProvider
from mission_system.core.llm.provider import LLMMessage, LLMRequest
from mission_system.core.settings import Settings
from mission_system.core.tower.mission import Mission
from mission_system.plugins.builtin import assistant
from mission_system.plugins.loader import load_plugins


class StubMission:
    """The part of a mission that the assistant uses; also its own LLM."""

    def __init__(
        self,
        message: str,
        *,
        provider: str = "mock",
        history: Sequence[LLMMessage] = (),
        answer: str = "",
        confirmed: bool = False,
    ) -> None:
        self.message = message
        self.provider = provider
        self.stages: list[str] = []
        self.questions: list[str] = []
        self.prompt: list[LLMMessage] = []
        self._history = list(history)
        self._answer = answer
        self._confirmed = confirmed

    @asynccontextmanager
    async def stage(self, name: str) -> AsyncIterator[None]:
        self.stages.append(name)
        yield

    async def clarify(self, question: str) -> str:
        self.questions.append(question)
        return self._answer

    async def confirm(self, question: str) -> bool:
        self.questions.append(question)
        return self._confirmed

    async def history(self) -> list[LLMMessage]:
        return self._history

    def llm(self, role: str) -> StubMission:
        assert role == "assistant"
        return self

    async def stream(self, prompt: Sequence[LLMMessage]) -> Reply:
        self.prompt = list(prompt)
        return Reply((await MockProvider().complete(LLMRequest(tuple(prompt)))).text)


async def text_of(mission: StubMission) -> str:
    reply = await assistant.answer(cast(Mission, mission))
    return reply.text if isinstance(reply, Reply) else reply


async def test_the_capability_offered_is_the_one_that_answers() -> None:
    host = load_plugins(Settings(), [assistant], entry_points=False)
    [spec] = host.orchestrators
    assert (spec.name, spec.function) == ("assistant", assistant.answer)
    assert [prompt.name for prompt in host.prompts] == ["assistant"]


@pytest.mark.parametrize(
    "message", ["hello", "say /clarify", "/unknown", "  two  words\n", "%_'\""]
)
async def test_any_message_is_answered_with_the_message_in_the_answer(message: str) -> None:
    mission = StubMission(message)
    assert message in await text_of(mission)
    assert mission.questions == []
    assert mission.stages == ["answer"]


async def test_the_model_gets_the_conversation_so_far_and_then_the_message() -> None:
    history = [LLMMessage("user", "one"), LLMMessage("assistant", "two")]
    mission = StubMission("three", history=history)
    await text_of(mission)
    assert mission.prompt == [*history, LLMMessage("user", "three")]


async def test_a_long_conversation_is_cut_to_its_end() -> None:
    history = [LLMMessage("user", str(number) * 3000) for number in range(9)]
    mission = StubMission("m" * 3000, history=history)
    await text_of(mission)
    assert [message.content[0] for message in mission.prompt] == ["6", "7", "8", "m"]


async def test_the_longest_message_goes_alone_when_the_last_one_does_not_fit_beside_it() -> None:
    mission = StubMission("m" * 10_000, history=[LLMMessage("user", "h" * 2001)])
    await text_of(mission)
    assert len(mission.prompt) == 1


@pytest.mark.parametrize("message", ["/clarify", "  /clarify please "])
async def test_clarify_asks_and_answers_with_what_was_said(message: str) -> None:
    mission = StubMission(message, answer="the invoice of May")
    assert "the invoice of May" in await text_of(mission)
    assert len(mission.questions) == 1
    assert mission.stages == ["clarify", "answer"]


@pytest.mark.parametrize(("confirmed", "word"), [(True, "it is done"), (False, "nothing was done")])
async def test_confirm_says_whether_it_was_done(confirmed: bool, word: str) -> None:
    mission = StubMission("/confirm", confirmed=confirmed)
    assert word in await text_of(mission)
    assert len(mission.questions) == 1


async def test_fail_ends_in_an_error_whose_text_a_client_may_see() -> None:
    with pytest.raises(MissionError, match="/fail"):
        await text_of(StubMission("/fail now"))
