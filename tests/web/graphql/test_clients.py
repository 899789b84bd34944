"""The public audit, and the clients that front ends use, against a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from javascript import begun, installed

from .conftest import Server

FOLDER = Path(__file__).with_name("clients")
RUN_SECONDS = 60

Node = Callable[..., Coroutine[Any, Any, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Runs a script of `clients` against a server; what it prints, line by line."""
    folder = installed(FOLDER, tmp_path_factory.mktemp("clients"))

    async def run(script: str, server: Server, *arguments: str) -> list[dict[str, Any]]:
        process = await begun(folder, script, server.url, *arguments)
        try:
            async with asyncio.timeout(RUN_SECONDS):
                out, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, errors.decode()
        return [json.loads(line) for line in out.splitlines()]

    return run


async def test_every_check_of_the_public_audit_passes(node: Node, server: Server) -> None:
    checks = await node("audit.mjs", server)
    assert len(checks) >= 60
    assert [check for check in checks if check["status"] != "ok"] == []


@pytest.mark.parametrize("client", ["ws", "sse", "apollo", "apollo multipart", "urql"])
async def test_client_sends_follows_answers_and_resumes(
    node: Node, server: Server, client: str
) -> None:
    script, *way = client.split()
    [told] = await node(f"{script}.mjs", server, *way)
    assert (told["state"], told["reply"]) == ("TERMINATED", "chose two")
    assert told["seqs"] == list(range(1, len(told["seqs"]) + 1))
    assert told["types"][-1] == "process.completed"
    assert told["errors"] == 1
    await server.until_nobody_follows()
