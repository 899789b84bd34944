"""A page of a client's own, which knows the contract and nothing else, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from .served import SECONDS, Served

CLIENT = "/plugins/contract_plugin/client.html"


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, server: Served, path: str) -> Iterator[Page]:
    """A page that may complain of nothing, and may ask no other host for anything."""
    complaints: list[str] = []
    foreign: list[str] = []
    page = browser.new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    own = (server.url, "data:", "blob:", server.websocket)
    page.on("request", lambda r: None if r.url.startswith(own) else foreign.append(r.url))
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    page.goto(f"{server.url}{path}")
    yield page
    page.close()
    assert (complaints, foreign) == ([], [])


@pytest.fixture
def page(browser: Browser, server: Served, user: str) -> Iterator[Page]:
    """The client, connected as a user of its own."""
    expect.set_options(timeout=SECONDS * 1000)
    with opened(browser, server, CLIENT) as page:
        page.fill("#user", user)
        page.click("#connect")
        expect(page.locator("#state")).to_have_text("connected")
        yield page


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.click("#say button")


def said(page: Page) -> Locator:
    return page.locator("#messages li")


def told(page: Page, event: str) -> Locator:
    return page.locator("#events li", has_text=event)


def test_a_session_is_created_renamed_archived_and_deleted(page: Page) -> None:
    page.fill("#title", "First <b>title</b>")
    page.click("#create")
    sessions = page.locator("#sessions li")
    expect(sessions).to_have_text(["First <b>title</b> 0 messages"])
    page.fill("#title", "Second")
    page.click("#rename")
    expect(sessions).to_have_text(["Second 0 messages"])
    page.click("#archive")
    expect(sessions).to_have_class("archived")
    page.click("#remove")
    expect(sessions).to_have_count(0)
    for event in ("created", "updated", "deleted"):
        expect(told(page, f"chat.session.{event}").first).to_be_attached()


def test_a_message_is_sent_and_answered_and_told_live(page: Page) -> None:
    say(page, "hello there")
    expect(said(page)).to_contain_text(["user: hello there", "assistant: You said: hello there"])
    expect(page.locator("#sessions li")).to_have_text(["hello there 2 messages"])
    expect(told(page, "orchestrator.started")).not_to_have_count(0)
    expect(told(page, "orchestrator.completed")).not_to_have_count(0)
    say(page, "and more")
    expect(said(page)).to_have_count(4)


@pytest.mark.parametrize(
    ("message", "answer", "last"),
    [
        ("/clarify", "the second", "assistant: You mean: the second"),
        ("/confirm", "yes", "assistant: Confirmed"),
        ("/confirm", "no", "assistant: Declined"),
    ],
)
def test_a_question_is_asked_and_answered(page: Page, message: str, answer: str, last: str) -> None:
    say(page, message)
    expect(page.locator("#question")).to_be_visible()
    expect(page.locator("#asked")).not_to_be_empty()
    page.fill("#answer-text", answer)
    page.click("#answer button")
    expect(page.locator("#question")).to_be_hidden()
    expect(said(page).last).to_contain_text(last)


def test_a_message_is_edited_and_deleted(page: Page) -> None:
    say(page, "original")
    expect(said(page)).to_have_count(2)
    said(page).first.get_by_role("button", name="Edit").click()
    expect(said(page).first).to_contain_text("user: original (edited)")
    expect(said(page).first).to_have_attribute("title", "was: original")
    expect(told(page, "chat.message.edited")).not_to_have_count(0)
    said(page).last.get_by_role("button", name="Delete").click()
    expect(said(page)).to_have_count(1)
    expect(page.locator("#sessions li")).to_contain_text(["1 messages"])


def test_messages_are_searched(page: Page) -> None:
    say(page, "50% of <script>")
    expect(said(page)).to_have_count(2)
    page.fill("#query", "50% OF <SCRIPT>")
    page.click("#find button")
    expect(page.locator("#found li")).to_have_count(2)
    page.fill("#query", "nothing of the kind")
    page.click("#find button")
    expect(page.locator("#found li")).to_have_count(0)


def test_a_session_is_downloaded_in_each_format(page: Page) -> None:
    say(page, "hello")
    expect(said(page)).to_have_count(2)
    for format, begins in (("json", '{"session":'), ("txt", "Session: hello"), ("md", "# hello")):
        with page.expect_download() as downloaded:
            page.click(f"[data-format={format}]")
        assert downloaded.value.suggested_filename.startswith("session_")
        assert downloaded.value.suggested_filename.endswith(f".{format}")
        text = Path(downloaded.value.path()).read_text()
        assert text.startswith(begins)
        if format == "json":
            assert [each["role"] for each in json.loads(text)["messages"]] == ["user", "assistant"]


def test_what_another_client_does_is_shown_live(
    page: Page, browser: Browser, server: Served, user: str
) -> None:
    with opened(browser, server, CLIENT) as other:
        other.fill("#user", user)
        other.click("#connect")
        expect(other.locator("#state")).to_have_text("connected")
        say(page, "seen elsewhere")
        expect(other.locator("#sessions li")).to_contain_text(["seen elsewhere"])


def test_the_dashboard_is_a_page_that_needs_nothing_else(page: Page, server: Served) -> None:
    page.click("#dashboard")
    expect(page.locator("h1")).to_have_text("Governance Dashboard")
    expect(page.locator("body")).to_contain_text("Memory Layer Status")
    expect(page.locator("body")).to_contain_text("Circuit Breaker")


def test_the_reference_is_a_page_that_needs_nothing_else(browser: Browser, server: Served) -> None:
    with opened(browser, server, "/docs") as page:
        operation = page.locator("details", has_text="POST /api/v1/chat/messages").first
        expect(operation.locator("td").first).to_be_hidden()
        operation.locator("summary").click()
        expect(operation.locator("td", has_text="Idempotency-Key").first).to_be_visible()
        assert page.locator("details").count() == 22
        operation.locator("a", has_text="MessageSendResponse").first.click()
        expect(page.locator("#MessageSendResponse")).to_be_in_viewport()
