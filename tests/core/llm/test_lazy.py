"""A provider that its first call loads."""

from __future__ import annotations

import asyncio
import threading

import pytest
import structlog
from pydantic import SecretStr
from structlog.testing import capture_logs

from mission_system.core.errors import LLMError
from mission_system.core.llm.credentials import read_credentials
from mission_system.core.llm.lazy import LazyProvider
from mission_system.core.llm.mock import MockProvider
from mission_system.core.llm.provider import LLMMessage, LLMRequest

ASKED = LLMRequest((LLMMessage("user", "hi"),))


class Model(MockProvider):
    closed = False

    async def close(self) -> None:
        self.closed = True


class Loader:
    """Loads when its gate is open; fails with the errors of its script, one a load."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.loaded: list[Model] = []
        self.loads = 0

    def __call__(self) -> Model:
        self.loads += 1
        self.begun.set()
        assert self.gate.wait(60)
        if self.errors:
            raise self.errors.pop(0)
        self.loaded.append(Model())
        return self.loaded[-1]


async def test_callers_share_one_load() -> None:
    load = Loader()
    lazy = LazyProvider("slow", "acme[extra]", load)
    calls = [asyncio.ensure_future(lazy.complete(ASKED)) for _ in range(5)]
    await asyncio.to_thread(load.begun.wait, 60)
    load.gate.set()
    assert {reply.text for reply in await asyncio.gather(*calls)} == {"You said: hi"}
    assert load.loads == 1


async def test_load_goes_on_without_its_first_caller() -> None:
    load = Loader()
    lazy = LazyProvider("slow", "acme[extra]", load)
    first = asyncio.create_task(lazy.complete(ASKED))
    await asyncio.to_thread(load.begun.wait, 60)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    load.gate.set()
    assert (await lazy.complete(ASKED)).text == "You said: hi"
    assert load.loads == 1


async def test_load_that_nobody_waits_for_is_closed_too() -> None:
    load = Loader()
    lazy = LazyProvider("slow", "acme[extra]", load)
    first = asyncio.create_task(lazy.complete(ASKED))
    await asyncio.to_thread(load.begun.wait, 60)
    first.cancel()
    load.gate.set()
    await lazy.close()
    [model] = load.loaded
    assert model.closed


async def test_failed_load_is_told_without_its_text_and_tried_again() -> None:
    load = Loader(ValueError("s3cret"), ImportError("nothing there"))
    load.gate.set()
    lazy = LazyProvider("slow", "acme[extra]", load)
    with (
        capture_logs(processors=[structlog.processors.format_exc_info]) as log,
        pytest.raises(LLMError, match=r"'slow' could not be made \(ValueError\)") as caught,
    ):
        await lazy.complete(ASKED)
    assert "s3cret" not in caught.value.message + str(log)
    assert "test_lazy.py" in log[0]["where"]
    with pytest.raises(LLMError, match=r"pip install 'acme\[extra\]'") as caught:
        await lazy.complete(ASKED)
    assert caught.value.kind == "invalid"  # so that nobody asks again
    await lazy.close()
    assert (await lazy.complete(ASKED)).text == "You said: hi"


def test_variable_that_does_not_validate_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    assert read_credentials().openai_api_key == SecretStr("s3cret")
    monkeypatch.setenv("LLAMACPP_CONTEXT", "much")
    with pytest.raises(LLMError, match="LLAMACPP_CONTEXT: Input should be a valid integer"):
        read_credentials()
