"""The GraphiQL page in a real browser, served by a started server under its own policy."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from databases import ChosenDatabases
from playwright.async_api import Browser, Page, async_playwright

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 30
OPERATIONS = Path(__file__).parents[2] / "schema" / "static" / "graphiql" / "operations"
RUN = ".graphiql-execute-button"
RESULT = ".graphiql-response .result-window"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    tmp_path_factory: pytest.TempPathFactory, databases: ChosenDatabases
) -> AsyncIterator[str]:
    """The URL of a server, started as a person would."""
    data = tmp_path_factory.mktemp("graphiql")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mission_system", "serve", "--port", "0"),
        *("--data", data),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **databases.environment(data)},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            async for line in process.stdout:
                if b"server.listening" in line:
                    break
        # Its log must be read on: a full pipe would hold it up.
        log = asyncio.create_task(process.stdout.read())
        yield json.loads((data / "server.json").read_text())["url"]
        process.terminate()
        await asyncio.wait_for(log, SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(server: str, browser: Browser) -> AsyncIterator[Page]:
    """The GraphiQL page, loaded. It must complain of nothing and ask no other host for anything."""
    complaints: list[str] = []
    foreign: list[str] = []
    own = (f"{server}/", "data:")
    async with await browser.new_page() as page:
        page.set_default_timeout(SECONDS * 1000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("request", lambda r: None if r.url.startswith(own) else foreign.append(r.url))
        await page.goto(f"{server}/graphql")
        await page.wait_for_selector(".graphiql-query-editor .CodeMirror")
        yield page
    assert (complaints, foreign) == ([], [])


async def run(page: Page, name: str, operation: str) -> None:
    """Put an operation into the editor and run it."""
    editor = page.locator(".graphiql-query-editor .CodeMirror")
    await editor.evaluate("(element, text) => element.CodeMirror.setValue(text)", operation)
    # The page takes over an edit after a moment; its tab then bears the operation's name.
    await page.wait_for_selector(f".graphiql-tab >> text={name}")
    await page.click(RUN)


async def test_the_first_tab_sends_a_message_and_shows_the_reply(page: Page) -> None:
    await page.click(RUN)
    await page.wait_for_selector(f"{RESULT} >> text=SendMessagePayload")
    shown = await page.inner_text(RESULT)
    assert "COMPLETED" in shown
    assert '"reply"' in shown


@dataclass(frozen=True)
class Talk:
    """What two messages to the server came to: both wait for an answer."""

    session: str
    pid: str
    interrupt: str
    doomed: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talk(server: str) -> Talk:
    send = """mutation { sendMessage(input: {text: "/clarify"}) { ... on SendMessagePayload {
      process { pid sessionId interrupts { interruptId } } } } }"""
    sent: list[Any] = []
    async with httpx.AsyncClient(timeout=SECONDS) as http:
        for _ in range(2):
            answer = await http.post(f"{server}/graphql", json={"query": send})
            sent.append(answer.json()["data"]["sendMessage"]["process"])
    first, second = sent
    return Talk(
        first["sessionId"], first["pid"], first["interrupts"][0]["interruptId"], second["pid"]
    )


EXAMPLES: dict[str, tuple[dict[str, str], str]] = {
    # In this order. What is put in where, by the attributes of a talk, and what is shown then.
    "send-message": ({}, "SendMessagePayload"),
    "create-session": ({}, "My first session"),
    "questions": ({}, "Which topic do you mean?"),
    "process": ({'id: ""': 'id: "{pid}"'}, "WAITING"),
    "answer-clarification": (
        {'interruptId: ""': 'interruptId: "{interrupt}"', 'answer: ""': 'answer: "tea"'},
        "You mean: tea",
    ),
    "session-events": ({'sessionId: ""': 'sessionId: "{session}"'}, "process.completed"),
    "reply-stream": ({'processId: ""': 'processId: "{pid}"'}, "ReplyFinished"),
    "cancel-process": ({'processId: ""': 'processId: "{doomed}"'}, "CANCELLED"),
    "search": ({}, "/clarify"),
    "sessions": ({}, "/clarify"),
    "server": ({}, "assistant"),
}


async def test_every_example_does_what_it_says(page: Page, talk: Talk) -> None:
    tabs = page.locator(".graphiql-tab .graphiql-tab-button")
    assert await tabs.count() == len(EXAMPLES) == len([*OPERATIONS.iterdir()])
    editor = page.locator(".graphiql-query-editor .CodeMirror")
    result = page.locator(".graphiql-response .CodeMirror")
    for name, (given, shown) in EXAMPLES.items():
        operation = "".join(part.capitalize() for part in name.split("-"))
        await page.locator(f'.graphiql-tab-button:text-is("{operation}")').click()
        text: str = await editor.evaluate("element => element.CodeMirror.getValue()")
        assert text == (OPERATIONS / f"{name}.graphql").read_text("utf-8"), name
        for place, filled in given.items():
            assert text.count(place) == 1, (name, place)
            text = text.replace(place, filled.format_map(vars(talk)))
        await editor.evaluate("(element, text) => element.CodeMirror.setValue(text)", text)
        await page.wait_for_function(  # the page takes over an edit after a moment
            "([place, name]) => document.querySelector(place).CodeMirror.operationName === name",
            arg=[".graphiql-query-editor .CodeMirror", operation],
        )
        await page.click(RUN)
        answer = ""
        try:
            async with asyncio.timeout(SECONDS):
                while shown not in answer:
                    await asyncio.sleep(0.1)
                    answer = await result.evaluate("element => element.CodeMirror.getValue()")
        except TimeoutError:
            pytest.fail(f"{name} shows no {shown!r}: {answer}")
        if name == "session-events":
            await page.click(RUN)  # it would go on for ever


async def test_a_subscription_shows_events_from_the_first_on(page: Page) -> None:
    create = """
        mutation Made {
            createSession(input: {}) { ... on CreateSessionPayload { session { sessionId } } }
        }
    """
    async with page.expect_response(lambda r: "Made" in (r.request.post_data or "")) as answer:
        await run(page, "Made", create)
    made = (await (await answer.value).json())["data"]["createSession"]["session"]["sessionId"]

    follow = f'subscription Told {{ sessionEvents(sessionId: "{made}", after: "") {{ type }} }}'
    await run(page, "Told", follow)
    await page.wait_for_selector(f"{RESULT} >> text=chat.session.created")


async def test_the_documentation_is_built_from_the_schema(page: Page) -> None:
    await page.click('button[aria-label="Show Documentation Explorer"]')
    await page.wait_for_selector(".graphiql-doc-explorer >> text=Subscription")
