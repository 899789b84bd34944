"""The GraphiQL page in a real browser, served by a started server under its own policy."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from databases import ChosenDatabases
from playwright.async_api import Browser, Page, async_playwright

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 30
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
