"""For a plugin's own tests: a server with that plugin, without a port, on a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..core.capabilities import CapabilityRegistry
from ..core.identity import Caller
from ..core.node import Node
from ..core.runtime import create_mission_runtime
from ..core.settings import Settings
from ..core.tower.process import Envelope, ProcessControlBlock
from .host import PluginHost
from .life import living
from .loader import load_plugins
from .report import PluginStatus

WAIT_SECONDS = 60.0


class PluginNotServed(AssertionError):
    """The plugin under test did not load, or a part of it did not start. Says why, and the fix."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A server on trial. `node` and `plugins` have whatever is not here."""

    node: Node
    plugins: PluginHost

    async def send(
        self,
        text: str,
        *,
        capability: str | None = None,
        session_id: str | None = None,
        user: str = "tester",
    ) -> ProcessControlBlock:
        """What a message came to: its process once it has ended, or waits for an answer.

        Raises:
            MissionError: the message was refused.
        """
        request = Envelope(
            caller=Caller(user), message=text, session_id=session_id, capability=capability
        )
        process = (await self.node.tower.submit_request(request, wait=WAIT_SECONDS)).process
        assert process is not None
        return process

    async def answer(self, process: ProcessControlBlock, text: str) -> ProcessControlBlock:
        """Answer what a process asks; what it came to then.

        Raises:
            AssertionError: it asks nothing.
            MissionError: the answer was refused.
        """
        if process.pending is None:
            raise AssertionError(f"the process asks nothing: it is {process.state}")
        caller = Caller(process.user_id)
        return await self.node.tower.resume_request(
            caller, process.pending.id, text, wait=WAIT_SECONDS
        )


@asynccontextmanager
async def trial(*plugins: object, **settings: Any) -> AsyncIterator[Trial]:
    """A server that serves these plugins alone, with the mock as its model, until it is left.

    `settings` are those of the server; a plugin's own come from the environment.

    Raises:
        PluginNotServed: one of them is broken.
    """
    with TemporaryDirectory(prefix="mission-trial-") as folder:
        chosen = Settings(**{"data": Path(folder), "shutdown_seconds": 0.0, **settings})
        host = load_plugins(chosen, plugins, entry_points=False)
        _check(host)
        runtime = create_mission_runtime(
            host.tools,
            settings=chosen,
            use_mock=True,
            config_registry=host.configs,
            prompts=host.prompts,
            services=host.services,
        )
        capabilities = CapabilityRegistry(host.orchestrators, chosen.default_capability)
        node = Node(runtime, capabilities, host.readiness_checks)
        await node.start(living(host, node))
        try:
            _check(host)
            yield Trial(node, host)
        finally:
            await node.stop()


def _check(host: PluginHost) -> None:
    told = [str(report) for report in host.reports if report.status is not PluginStatus.LOADED]
    if told:
        raise PluginNotServed("\n".join(told))
