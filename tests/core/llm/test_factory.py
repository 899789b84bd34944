from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from mission_system.core.errors import LLMError
from mission_system.core.llm.factory import LLMFactory
from mission_system.core.llm.mock import MockProvider
from mission_system.core.llm.provider import LLMMessage, LLMProvider, LLMRequest
from mission_system.core.settings import Settings


def settings(provider: str) -> Settings:
    return Settings(llm_provider=provider)


def make_canned(given: Settings) -> LLMProvider:
    return MockProvider(script=[given.llm_provider] * 2)


def make_other(given: Settings) -> LLMProvider:
    return MockProvider()


ASKED = LLMRequest((LLMMessage("user", "hi"),))


async def test_mock_is_there_without_registering() -> None:
    factory = LLMFactory(settings("mock"))
    assert factory("default").name == "mock"
    assert (await factory("default").complete(ASKED)).text == "You said: hi"


async def test_the_named_provider_is_made_once_from_the_settings() -> None:
    asked: list[Settings] = []

    def make(given: Settings) -> LLMProvider:
        asked.append(given)
        return make_canned(given)

    chosen = settings("canned")
    factory = LLMFactory(chosen)
    factory.register("canned", make)
    assert asked == []
    assert factory("writer") is factory("planner")
    assert asked == []
    for role in ("writer", "planner"):
        assert (await factory(role).complete(ASKED)).text == "canned"
    assert asked == [chosen]


def test_what_is_registered_can_be_asked() -> None:
    factory = LLMFactory(settings("mock"))
    factory.register("canned", make_canned)
    assert "mock" in factory
    assert "canned" in factory
    assert "gpt" not in factory


async def test_an_unknown_provider_is_refused_with_choices_and_setting() -> None:
    factory = LLMFactory(settings("gpt"))
    factory.register("canned", make_canned)
    with pytest.raises(
        LLMError, match=r"'gpt'.*MISSION_LLM_PROVIDER.*one of: canned, mock"
    ) as caught:
        await factory("default").complete(ASKED)
    assert caught.value.kind == "invalid"


def test_a_clash_names_both_owners() -> None:
    factory = LLMFactory(settings("mock"))
    factory.register("canned", make_canned, owner="acme-llm 1.0")
    with pytest.raises(ValueError, match=r"'canned'.*acme-llm 1\.0.*test_factory\.make_other"):
        factory.register("canned", make_other)
    with pytest.raises(ValueError, match=r"'mock'.*mission-system.*make_other"):
        factory.register("mock", make_other)


async def test_a_provider_that_cannot_be_made_is_unavailable_and_tried_again() -> None:
    attempts: list[str] = []
    secret = "s3cret"

    def make(given: Settings) -> LLMProvider:
        attempts.append("x")
        if len(attempts) == 1:
            raise ImportError(secret)
        return make_canned(given)

    factory = LLMFactory(settings("canned"))
    factory.register("canned", make, owner="acme-llm 1.0")
    with (
        capture_logs(processors=[structlog.processors.format_exc_info]) as log,
        pytest.raises(LLMError, match=r"'canned' of acme-llm 1\.0 .*\(ImportError\)") as caught,
    ):
        await factory("default").complete(ASKED)
    assert caught.value.kind == "unavailable"
    assert secret not in caught.value.message + str(log)
    assert "test_factory.py" in log[0]["where"]
    assert (await factory("default").complete(ASKED)).text == "canned"


async def test_a_makers_own_llm_error_is_kept() -> None:
    def make(given: Settings) -> LLMProvider:
        raise LLMError("auth", "set OPENAI_API_KEY")

    factory = LLMFactory(settings("canned"))
    factory.register("canned", make)
    with pytest.raises(LLMError, match="set OPENAI_API_KEY") as caught:
        await factory("default").complete(ASKED)
    assert caught.value.kind == "auth"


async def test_a_provider_that_cannot_be_closed_is_logged_without_what_it_says() -> None:
    secret = "s3cret"

    class Stuck(MockProvider):
        async def close(self) -> None:
            raise ValueError(secret)

    factory = LLMFactory(settings("stuck"))
    factory.register("stuck", lambda _: Stuck())
    await factory("default").complete(ASKED)
    with capture_logs(processors=[structlog.processors.format_exc_info]) as log:
        await factory.close()
    [line] = log
    assert (line["event"], line["error"]) == ("llm.provider_not_closed", "ValueError")
    assert "test_factory.py" in line["where"]
    assert secret not in str(line)
