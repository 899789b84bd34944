"""The governance dashboard in a real browser: live, escaped, usable without script or mouse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from databases import ChosenDatabases
from playwright.async_api import Browser, Page, Route, WebSocketRoute, async_playwright

from mission_system import Mission, OrchestratorSpec, ToolFailed, ToolSpec, hookimpl, tool
from mission_system.api.governance import (
    Case,
    IndicatorSpec,
    LayerStatus,
    Measurement,
    MemoryLayerSpec,
)
from mission_system.core.clock import SECOND, now
from mission_system.core.errors import Unavailable
from mission_system.core.runtime import MissionRuntime
from mission_system.core.settings import Settings
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tools.calls import FinishedCall, add_call
from mission_system.core.tools.spec import ToolStatus
from mission_system.web.rest import dashboard
from mission_system.web.serve import serving

SECONDS = 60.0
XSS = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
MESSAGE = """
mutation ($text: String!, $capability: String!) {
  sendMessage(input: {text: $text, capability: $capability}) {
    ... on SendMessagePayload { process { reply } } ... on Error { message } } }
"""
QUARANTINE = """
mutation ($reason: String!) { quarantineTool(input: {tool: "mail", reason: $reason}) {
  ... on QuarantineToolPayload { breaker { state } } ... on Error { message } } }
"""
RELEASE = """
mutation { releaseTool(input: {tool: "mail"}) {
  ... on ReleaseToolPayload { breaker { state } } ... on Error { message } } }
"""


@dataclass
class Post:
    """A tool that fails while it is told to, and a capability that uses it."""

    broken: bool = True
    calls: list[str] = field(default_factory=list)
    runtime: MissionRuntime | None = None

    def plugin(self) -> ModuleType:
        module = ModuleType("post")

        @tool(name="mail")
        def mail() -> str:
            """Send."""
            self.calls.append("mail")
            if self.broken:
                raise RuntimeError(XSS)
            return "sent"

        async def posts(mission: Mission) -> str:
            offered = "mail" in [spec.name for spec in await mission.tools.offered()]
            said = ""
            for _ in range(int(mission.message)):
                try:
                    said = str(await mission.tools.mail())
                except ToolFailed as error:
                    said = error.status
            return f"{said}, offered: {offered}"

        @hookimpl
        def register_tools() -> Sequence[ToolSpec]:
            return [mail]

        @hookimpl
        def register_orchestrators() -> Sequence[OrchestratorSpec]:
            return [OrchestratorSpec("posts", posts)]

        @hookimpl
        async def runtime_started(runtime: MissionRuntime) -> None:
            self.runtime = runtime

        module.__dict__.update(
            register_tools=register_tools,
            register_orchestrators=register_orchestrators,
            runtime_started=runtime_started,
        )
        return module


@dataclass
class Site:
    url: str

    @property
    def dashboard(self) -> str:
        return f"{self.url}/api/v1/governance/dashboard"

    async def execute(self, query: str, **variables: Any) -> Any:
        body = {"query": query, "variables": variables}
        async with httpx.AsyncClient(timeout=SECONDS, verify=False) as client:
            answer = await client.post(f"{self.url}/graphql", json=body)
        found = answer.json()
        assert "errors" not in found, found
        return next(iter(found["data"].values()))

    async def post(self, times: int) -> str:
        sent = await self.execute(MESSAGE, text=str(times), capability="posts")
        return str(sent["process"]["reply"])


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()


@pytest.fixture
def looks_every(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """How often a page looks again, in seconds, by itself."""

    def looks_every(seconds: int) -> None:
        head = dashboard._HEAD.replace('data-seconds="15"', f'data-seconds="{seconds}"')
        assert f'"{seconds}"' in head
        monkeypatch.setattr(dashboard, "_HEAD", head)

    return looks_every


@dataclass
class Told:
    """The server's end of the page's sockets, as a test plays it."""

    role: str
    answer: dict[str, Any] | None = None  # to the subscription
    sockets: list[WebSocketRoute] = field(default_factory=list)
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)  # the page answered a ping

    def connect(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(lambda text: self._answer(socket, json.loads(text)))

    def _answer(self, socket: WebSocketRoute, message: dict[str, Any]) -> None:
        if message["type"] == "connection_init":
            socket.send('{"type": "connection_ack"}')
        elif message["type"] == "pong":
            self.caught_up.set()
        elif message["id"] == "role":
            data = {"viewer": {"role": self.role}}
            self.say(socket, {"id": "role", "type": "next", "payload": {"data": data}})
            self.say(socket, {"id": "role", "type": "complete"})
        elif self.answer is not None:
            self.say(socket, {"id": message["id"], **self.answer})

    def say(self, socket: WebSocketRoute, message: dict[str, Any]) -> None:
        socket.send(json.dumps(message))


@asynccontextmanager
async def site(folder: Path, post: Post, *plugins: ModuleType) -> AsyncIterator[Site]:
    settings = Settings(data=folder, port=0, shutdown_seconds=0, breaker_cooldown_seconds=3600)
    async with serving(settings, [post.plugin(), *plugins]) as running:
        yield Site(running.url)


@asynccontextmanager
async def opened(
    browser: Browser, url: str, told: Told | None = None, **options: Any
) -> AsyncIterator[Page]:
    """The page, which must complain of nothing and ask no other host for anything. With `told`, a
    test is the other end of its sockets, and its clock stands until the test moves it."""
    complaints: list[str] = []
    async with await browser.new_page(**options) as page:
        page.set_default_timeout(SECONDS * 1000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        if told is not None:
            await page.route_web_socket("**/graphql", told.connect)
            await page.clock.install(time=0)
            await page.clock.pause_at(1000)
        await page.goto(url)
        yield page
    assert complaints == []


async def holds(page: Page, condition: str) -> None:
    """Wait until it does; the page's policy keeps Playwright's own way out."""
    async with asyncio.timeout(SECONDS):
        while not await page.evaluate(condition):
            await asyncio.sleep(0.01)


async def test_a_failing_tool_is_seen_live_released_and_remembered(
    tmp_path: Path,
    post: Post,
    browser: Browser,
    databases: ChosenDatabases,
    looks_every: Callable[[int], None],
) -> None:
    looks_every(3600)  # so what is seen was told
    async with site(tmp_path, post) as server, opened(browser, server.dashboard) as page:
        await page.wait_for_selector("#live.live >> text=Live")
        assert "every breaker is closed" in await page.inner_text(
            "section[aria-labelledby=breakers]"
        )
        assert await server.post(6) == "unavailable, offered: True"
        assert len(post.calls) == 5
        await page.wait_for_selector("[aria-labelledby=breakers] .badge >> text=open")
        card = page.locator(".card", has_text="mail").first
        await card.locator("text=5 errors").wait_for()
        assert await server.post(0) == ", offered: False"

    async with site(tmp_path, post) as server, opened(browser, server.dashboard) as page:
        await page.wait_for_selector("#live.live")
        await page.wait_for_selector("[aria-labelledby=breakers] .badge >> text=open")
        post.broken = False
        assert await server.post(1) == "unavailable, offered: False"
        assert await server.execute(QUARANTINE, reason=XSS) == {"breaker": {"state": "QUARANTINED"}}
        await page.wait_for_selector("[aria-labelledby=breakers] .badge >> text=quarantined")
        assert XSS in await page.inner_text("[aria-labelledby=breakers]")
        assert await server.execute(RELEASE) == {"breaker": {"state": "CLOSED"}}
        await page.wait_for_selector("text=every breaker is closed")
        assert await server.post(1) == "sent, offered: True"
        assert await page.title() == "Governance Dashboard"


async def test_what_nobody_tells_is_seen_at_the_next_look(
    tmp_path: Path, post: Post, browser: Browser, looks_every: Callable[[int], None]
) -> None:
    looks_every(1)
    async with site(tmp_path, post) as server, await browser.new_page() as page:
        await page.route_web_socket("**/graphql", lambda socket: socket.close())
        await page.goto(server.dashboard)
        await page.wait_for_selector("#live >> text=Looks again every 1 seconds")
        assert await server.post(5) == "error, offered: True"
        await page.wait_for_selector("[aria-labelledby=breakers] .badge >> text=open")


async def test_who_is_no_administrator_is_told_once_that_nothing_is_live(
    tmp_path: Path, post: Post, browser: Browser
) -> None:
    told = Told("USER")
    async with site(tmp_path, post) as server, opened(browser, server.dashboard, told) as page:
        await page.wait_for_selector("#live:not(.live) >> text=Looks again every 15 seconds")
        await page.clock.run_for(300_000)
        assert len(told.sockets) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "next", "payload": {"data": None, "errors": [{"message": "no"}]}},
        {"type": "error", "payload": [{"message": "no"}]},
        {"type": "complete"},
    ],
)
async def test_a_subscription_that_ends_is_asked_for_again_after_longer_and_longer(
    tmp_path: Path, post: Post, browser: Browser, answer: dict[str, Any]
) -> None:
    told = Told("ADMIN", answer)
    async with site(tmp_path, post) as server, opened(browser, server.dashboard, told) as page:
        for tries, seconds in enumerate((2, 4, 8), start=1):
            await holds(page, f"tries === {tries}")
            assert await page.inner_text("#live:not(.live)") == "Looks again every 15 seconds"
            await page.clock.run_for(seconds * 1000 - 1)
            assert len(told.sockets) == tries
            await page.clock.run_for(1)
            async with asyncio.timeout(SECONDS):
                while len(told.sockets) == tries:
                    await asyncio.sleep(0.01)


async def test_changes_during_a_load_are_seen_by_one_more(
    tmp_path: Path, post: Post, browser: Browser
) -> None:
    told, loads, free = Told("ADMIN"), 0, asyncio.Event()

    async def hold(route: Route) -> None:
        nonlocal loads
        loads += 1
        await free.wait()
        await route.continue_()

    async with site(tmp_path, post) as server, opened(browser, server.dashboard, told) as page:
        await page.wait_for_selector("#live.live")
        await holds(page, "!isLoading")  # the load that comes with it is over
        await page.route(server.dashboard, hold)
        change = {"id": "changes", "type": "next", "payload": {"data": {}}}
        for _ in range(5):
            told.say(told.sockets[0], change)
        told.say(told.sockets[0], {"type": "ping"})
        async with asyncio.timeout(SECONDS):
            await told.caught_up.wait()
        assert await page.evaluate("isLoading && isStale")
        free.set()
        await holds(page, "!isLoading && !isStale")
        assert loads == 2


def evil() -> ModuleType:
    """Says markup wherever the dashboard takes text from a plugin."""

    async def fails() -> LayerStatus:
        raise Unavailable(f"{XSS} layer is down")

    async def works() -> LayerStatus:
        return LayerStatus(message=f"{XSS} layer is well")

    async def measure(_: object) -> Measurement:
        return Measurement(2, 1, (Case(f"{XSS} case"),))

    async def cannot(_: object) -> Measurement:
        raise Unavailable(f"{XSS} not measured")

    def indicator(name: str, measure: Callable[[object], Any]) -> IndicatorSpec:
        return IndicatorSpec(
            name=name,
            title=f"{XSS} title of {name}",
            definition=f"{XSS} definition",
            threshold=1.0,
            measure=measure,
        )

    @hookimpl
    def register_memory_layers() -> Sequence[MemoryLayerSpec]:
        return [
            MemoryLayerSpec(layer="L3", backend=f"{XSS} backend", check=fails),
            MemoryLayerSpec(layer="L5", backend="graph", check=works),
        ]

    @hookimpl
    def register_alignment_indicators() -> Sequence[IndicatorSpec]:
        return [indicator("one", measure), indicator("two", cannot)]

    module = ModuleType("evil")
    module.__dict__.update(
        register_memory_layers=register_memory_layers,
        register_alignment_indicators=register_alignment_indicators,
    )
    return module


async def test_markup_is_shown_as_text(tmp_path: Path, post: Post, browser: Browser) -> None:
    async with site(tmp_path, post, evil()) as server:
        assert await server.post(1) == "error, offered: True"  # its error is markup
        await server.execute(QUARANTINE, reason=f"{XSS} reason")

        async def unit(tx: Transaction) -> None:
            for _ in range(5):
                await add_call(tx, FinishedCall(XSS, ToolStatus.SUCCESS, now(), 6 * SECOND))

        assert post.runtime is not None
        await post.runtime.persistence.write(unit)
        async with opened(browser, server.dashboard) as page:
            await page.wait_for_selector("#live.live")
            assert XSS in await page.inner_text("[aria-labelledby=tools]")
            assert XSS in await page.inner_text("[aria-labelledby=slow]")
            shown = await page.inner_text("main")
            for text in (
                *("reason", "backend", "layer is down", "layer is well", "definition", "case"),
                *("title of one", "title of two", "not measured"),
            ):
                assert f"{XSS} {text}" in shown, text
            assert await page.locator("main img, main script").count() == 0
            assert await page.title() == "Governance Dashboard"


async def test_it_is_read_without_script_and_used_without_a_mouse(
    tmp_path: Path, post: Post, browser: Browser
) -> None:
    async with site(tmp_path, post) as server:
        async with opened(browser, server.dashboard, java_script_enabled=False) as page:
            assert "System Status: UNKNOWN" in await page.inner_text("h2 >> nth=0")
            reload = await page.locator("noscript meta, meta[http-equiv=refresh]").count()
            assert reload == 1
        async with opened(browser, server.dashboard) as page:
            await page.keyboard.press("Tab")
            assert await page.evaluate("document.activeElement.className") == "skip"
            await page.keyboard.press("Enter")
            assert await page.evaluate("document.activeElement.id") == "dashboard"
            await page.keyboard.press("Tab")
            assert await page.evaluate("document.activeElement.classList.contains('card')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_colours_follow_the_reader_and_can_be_read(
    tmp_path: Path, post: Post, browser: Browser, scheme: str
) -> None:
    async with site(tmp_path, post) as server:
        await server.post(6)
        for width in (360, 1280):
            view = {"width": width, "height": 900}
            async with opened(
                browser, server.dashboard, color_scheme=scheme, viewport=view
            ) as page:
                ink, paper = await page.evaluate(
                    "['color', 'backgroundColor'].map((c) => getComputedStyle(document.body)[c]"
                    ".match(/\\d+/g).map(Number).reduce((a, b) => a + b) / 3)"
                )
                assert (ink < 80 < 200 < paper) if scheme == "light" else (paper < 80 < 200 < ink)
                overflow = await page.evaluate(
                    "document.documentElement.scrollWidth > document.documentElement.clientWidth"
                )
                assert not overflow
