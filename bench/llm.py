"""What real models cost a server: nothing until one is asked, and little beside the bare SDK.

    .venv/bin/python bench/llm.py [calls]

Needs the test extra. The model is a server of its own process that speaks as OpenAI does and
replies at once, so what is measured is the client's side. Times are processor time of the measuring
process, medians, so that a busy machine changes little; the ways to call take turns.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from openai import AsyncOpenAI
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import ModelRequest
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from vendors import Answer, Vendor, serving

from mission_system.core.llm.factory import LLMFactory
from mission_system.core.llm.provider import LLMMessage, LLMRequest
from mission_system.core.settings import Settings
from mission_system.plugins.builtin import models

WORDS = 1000
STARTS = 5
LIBRARIES = ("pydantic_ai", "openai", "anthropic", "xllamacpp")
HIDE = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LIBRARIES!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
"""
START = """
import time
began = time.process_time()
from mission_system import Settings, create_app
imported = time.process_time()
create_app(Settings(llm_provider="mock"))
print(imported - began, time.process_time() - began)
"""
LOADED = f"""
import sys
print(sorted(set({LIBRARIES!r}) & set(sys.modules)))
"""


def start_times(prelude: str) -> tuple[float, float, str]:
    """Seconds to import and to make an application with the mock, and which libraries that took."""
    out = subprocess.check_output([sys.executable, "-c", prelude + START + LOADED], text=True)
    times, loaded = out.splitlines()[-2:]
    imported, made = map(float, times.split())
    return imported, made, loaded


def measure_starts() -> None:
    found: dict[str, list[tuple[float, float, str]]] = {"installed": [], "hidden": []}
    for _ in range(STARTS):
        for name, prelude in (("installed", ""), ("hidden", HIDE)):
            found[name].append(start_times(prelude))
    for name, times in found.items():
        imported = statistics.median(each[0] for each in times) * 1000
        made = statistics.median(each[1] for each in times) * 1000
        print(f"with the extras {name:<12} import {imported:7.1f} ms, application {made:7.1f} ms")
        assert {each[2] for each in times} == {"[]"}


async def rounds(calls: int, **ways: Callable[[], Awaitable[None]]) -> dict[str, float]:
    """Median processor seconds of each way, which take turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(calls + 5):
        for name, way in ways.items():
            began = time.process_time()
            await way()
            if number >= 5:  # the first ones open connections and build validators
                times[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def tell(what: str, times: dict[str, float]) -> None:
    print(f"{what + ', bare SDK':<44} {times['bare']:7.1f} us")
    print(f"{what + ', pydantic-ai on top of it':<44} {times['middle'] - times['bare']:7.1f} us")
    print(f"{what + ', ours on top of that':<44} {times['ours'] - times['middle']:7.1f} us")


async def measure_calls(url: str, calls: int) -> None:
    os.environ |= {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"{url}/v1"}
    bare = AsyncOpenAI(max_retries=0)
    factory = LLMFactory(Settings(llm_provider="openai", llm_model="gpt"))
    factory.register("openai", models.register_llm_providers()["openai"])
    ours = factory("writer")
    asked = LLMRequest((LLMMessage("user", "hi"),))
    said = [{"role": "user", "content": "hi"}]

    middle = OpenAIChatModel("gpt", provider=OpenAIProvider(openai_client=bare))
    prompt = [ModelRequest.user_text_prompt("hi")]

    async def bare_call() -> None:
        await bare.chat.completions.create(model="gpt", messages=said)  # type: ignore[arg-type]

    async def our_call() -> None:
        await ours.complete(asked)

    async def bare_stream() -> None:
        stream = await bare.chat.completions.create(
            model="gpt",
            messages=said,  # type: ignore[arg-type]
            stream=True,
            stream_options={"include_usage": True},
        )
        async for _ in stream:
            pass

    async def middle_stream() -> None:
        async with model_request_stream(middle, prompt) as stream:
            async for _ in stream:
                pass

    async def middle_call() -> None:
        await model_request(middle, prompt)

    async def our_stream() -> None:
        async for _ in ours.stream(asked):
            pass

    once = await rounds(calls, bare=bare_call, middle=middle_call, ours=our_call)
    tell("a call", {name: seconds * 1e6 for name, seconds in once.items()})
    streamed = await rounds(
        max(5, calls // 20), bare=bare_stream, middle=middle_stream, ours=our_stream
    )
    tell("a streamed token", {name: each / WORDS * 1e6 for name, each in streamed.items()})
    await factory.close()
    await bare.close()


def serve() -> None:
    """The model: short replies to whole calls, long ones to streams."""
    vendor = Vendor()
    long = Answer("word " * WORDS)
    vendor.script = [long]
    with serving(vendor):
        print(vendor.url, flush=True)
        threading.Event().wait()


def main(calls: int) -> None:
    measure_starts()
    with subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            asyncio.run(measure_calls(server.stdout.readline().strip(), calls))
        finally:
            server.kill()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
