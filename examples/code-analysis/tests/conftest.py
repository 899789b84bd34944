"""A small shop to ask about, and a server that answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import mission_code_analysis
import pytest
from mission_code_analysis import CodeAnalysisConfig
from mission_code_analysis.source.tree import SourceTree

from mission_system import Envelope, ProcessControlBlock, Settings
from mission_system.core.capabilities import CapabilityRegistry
from mission_system.core.identity import LOCAL
from mission_system.core.llm.factory import LLMFactory
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.plugins.loader import load_plugins

SHOP: Mapping[str, str] = {
    "README.md": """\
        # Shop

        Sells things and keeps count of them.

        ## Running
        """,
    "pyproject.toml": """\
        [project]
        name = "shop"
        description = "A shop."
        """,
    "shop/__init__.py": "",
    "shop/orders.py": '''\
        """Orders: what was bought, and for how much."""

        from .stock import Stock, take

        LIMIT = 100


        class Order:
            """Things that one person buys at once."""

            def __init__(self, stock: Stock) -> None:
                self.lines: list[str] = []
                self.stock = stock

            def add(self, name: str) -> None:
                """Put one more thing into the order."""
                take(self.stock, name)
                self.lines.append(name)


        def answer(question: str) -> str:
            return question
        ''',
    "shop/stock.py": '''\
        """The stock: what is left in the house."""


        class Stock:
            """Counts by name. The reservation of a thing ends after an hour."""

            counts: dict[str, int]


        def take(stock: Stock, name: str) -> None:
            # A reservation is made by counting down.
            stock.counts[name] -= 1


        def answer() -> int:
            return 42
        ''',
    "tests/test_orders.py": """\
        from shop.orders import Order
        from shop.stock import Stock


        def test_an_order_takes_from_the_stock() -> None:
            order = Order(Stock())
            order.add("tea")
            assert order.lines == ["tea"]
        """,
}


class MakeTree(Protocol):
    def __call__(self, files: Mapping[str, str | bytes], **config: Any) -> SourceTree: ...


class Git(Protocol):
    def __call__(self, root: Path, *arguments: str) -> None: ...


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `MISSION_*` variable and no `.env` of the person at the keyboard counts."""
    for name in [name for name in os.environ if name.startswith("MISSION_")]:
        monkeypatch.delenv(name)
    work = tmp_path / "cwd"
    work.mkdir()
    monkeypatch.chdir(work)


def require_git() -> None:
    """Skip a test by name where git is not installed; where `CI` is set, fail it, because nobody
    reads what was skipped there."""
    if shutil.which("git") is None:
        reason = "not installed: git. To get it: apt install git"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture
def git(own_surroundings: None) -> Git:
    """Runs git in a folder, as Ann."""
    require_git()

    def run(root: Path, *arguments: str) -> None:
        identity = ("-c", "user.name=Ann Ångström", "-c", "user.email=ann@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)

    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder for sources, with a neighbour that nobody may see."""
    (tmp_path / "secret.txt").write_text("the secret of the neighbour\n")
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def make_tree(root: Path) -> MakeTree:
    """Writes files below `root` and opens it."""

    def make(files: Mapping[str, str | bytes], **config: Any) -> SourceTree:
        write(root, files)
        return SourceTree(CodeAnalysisConfig(root=root, **config))

    return make


@pytest.fixture
def shop(root: Path) -> Path:
    """The root of the shop's sources."""
    write(root, {path: textwrap.dedent(text) for path, text in SHOP.items()})
    return root


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)


@dataclass(frozen=True)
class Answer:
    """The end of a process, or the question it waits with."""

    process: ProcessControlBlock
    data: dict[str, Any]

    @property
    def text(self) -> str:
        assert self.process.reply is not None, self.process
        return self.process.reply

    @property
    def question(self) -> str:
        assert self.process.pending is not None, self.process
        return self.process.pending.question

    @property
    def options(self) -> tuple[str, ...]:
        assert self.process.pending is not None, self.process
        return self.process.pending.options

    @property
    def places(self) -> list[str]:
        return [f"{each['path']}:{each['line']}" for each in self.data["citations"]]


@dataclass(frozen=True)
class Server:
    """A node that serves the capability over one root."""

    node: Node
    root: Path

    async def ask(self, message: str, session_id: str | None = None) -> Answer:
        sent = Envelope(
            caller=LOCAL, message=message, session_id=session_id, capability="code-analysis"
        )
        return await self._answer((await self.node.tower.submit_request(sent, wait=30)).process)

    async def reply(self, waiting: Answer, text: str) -> Answer:
        """Answer the question that a process waits with."""
        assert waiting.process.pending is not None, waiting.process
        interrupt = waiting.process.pending.id
        return await self._answer(
            await self.node.tower.resume_request(LOCAL, interrupt, text, wait=30)
        )

    async def _answer(self, process: ProcessControlBlock | None) -> Answer:
        assert process is not None
        assert process.error is None, process
        data: dict[str, Any] = {}
        if process.reply_message_id is not None:
            data = (await self.node.chat.get_message(LOCAL, process.reply_message_id)).data
            self.check_citations(data["citations"])
        return Answer(process, data)

    def check_citations(self, citations: list[dict[str, Any]]) -> None:
        """Every citation of every answer is read again here, without the code under test."""
        for each in citations:
            text = (self.root / each["path"]).read_text(encoding="utf-8", errors="replace")
            assert each["text"] in text.split("\n")[each["line"] - 1], each


Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """Starts a server over a root, after stopping the one before, on the same data folder.
    `plugins` are loaded beside the capability."""
    async with AsyncExitStack() as running:

        async def start(root: Path, *plugins: object, **settings: Any) -> Server:
            await running.aclose()
            monkeypatch.setenv("MISSION_CODE_ANALYSIS_ROOT", str(root))
            configured = Settings(data=tmp_path / "data", **settings)
            host = load_plugins(configured, [mission_code_analysis, *plugins], entry_points=False)
            assert [report.reason for report in host.reports if report.reason] == []
            runtime = create_mission_runtime(
                host.tools,
                settings=configured,
                use_mock=configured.llm_provider == "mock",
                config_registry=host.configs,
            )
            if isinstance(runtime.llm_provider_factory, LLMFactory):
                for name, make in host.llm_providers.items():
                    runtime.llm_provider_factory.register(name, make)
            node = Node(runtime, CapabilityRegistry(host.orchestrators))
            return Server(await running.enter_async_context(node), root)

        yield start


@pytest.fixture
async def server(serve: Serve, shop: Path) -> Server:
    return await serve(shop)
