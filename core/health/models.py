"""Readiness of the source of LLM replies: what each provider needs before it can answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import orjson

from ..llm.credentials import REQUIRED, Credentials, read_credentials
from ..llm.extras import missing_extra
from .result import ComponentHealth, ComponentStatus

# Less than what the checker gives a check, so that the thread ends before its caller gives up.
LLAMASERVER_SECONDS = 4.0
ANSWER_LIMIT = 64 * 1024

SEVERITY = (ComponentStatus.UP, ComponentStatus.DEGRADED, ComponentStatus.DOWN)


def models_check(
    uses: Mapping[str, Sequence[str]],
    served: Callable[[str], bool],
    credentials: Callable[[], Credentials] = read_credentials,
) -> Callable[[], Awaitable[ComponentHealth]]:
    """Whether models can be asked. `uses` names each role's providers, the first choice first.

    `served` says whether anything here makes a provider. A built-in one is down while something it
    needs is missing; one that a plugin made is up; a name that nobody knows is degraded:
    everything else still works. A role is degraded while only some of its providers are up, and
    down while none is; the worst role counts.
    """
    known = cache(credentials)

    async def check() -> ComponentHealth:
        names = tuple(dict.fromkeys(name for chain in uses.values() for name in chain))
        found = await asyncio.gather(*(_provider(name, served, known) for name in names))
        health = dict(zip(names, found, strict=True))
        roles = [_role([health[name] for name in chain]) for chain in uses.values()]
        return max(roles, key=lambda role: SEVERITY.index(role.status))

    return check


def _role(chain: Sequence[ComponentHealth]) -> ComponentHealth:
    ailing = [health for health in chain if health.status != ComponentStatus.UP]
    if not ailing:
        return chain[0]
    if len(ailing) == len(chain):
        return min(ailing, key=lambda health: SEVERITY.index(health.status))
    return ComponentHealth(status=ComponentStatus.DEGRADED, message=ailing[0].message)


async def _provider(
    name: str, served: Callable[[str], bool], credentials: Callable[[], Credentials]
) -> ComponentHealth:
    if name == "mock":
        return _up()
    if name not in REQUIRED:
        return _up() if served(name) else _unknown(name)
    if missing := credentials().missing(name):
        return _down(f"{name} needs {', '.join(missing)} to be set")
    if not served(name):
        return _down(f"nothing installed here makes the provider '{name}'")
    if extra := missing_extra(name):
        return _down(f"{name} needs more than is installed: pip install '{extra}'")
    look = {"llamacpp": _llamacpp, "llamaserver": _llamaserver}.get(name)
    return await asyncio.to_thread(look, credentials()) if look else _up()


def _llamacpp(credentials: Credentials) -> ComponentHealth:
    if Path(credentials.llamacpp_model_path or "").is_file():
        return _up()
    return _down("LLAMACPP_MODEL_PATH names no file")


def _llamaserver(credentials: Credentials) -> ComponentHealth:
    url = credentials.llamaserver_host
    if not url.startswith(("http://", "https://")):
        return _down("LLAMASERVER_HOST is no http:// or https:// address")
    deadline = time.monotonic() + LLAMASERVER_SECONDS
    try:
        status = _said(_get(credentials, "/health", deadline), "status")
        if status is None and isinstance(
            _said(_get(credentials, "/v1/models", deadline), "data"), list
        ):
            return _up()  # vLLM, Ollama and LM Studio have no health of this form
    except HTTPError as error:
        return _down(f"the llama server answers {error.code}")
    except (URLError, OSError, HTTPException):
        return _down("the llama server does not answer")
    if status is None:
        return _down("the llama server answers something that is not its health")
    if status == "ok":
        return _up()
    return ComponentHealth(
        status=ComponentStatus.DEGRADED, message=f"the llama server says '{str(status)[:100]}'"
    )


def _get(credentials: Credentials, path: str, deadline: float) -> bytes:
    """Empty where there is nothing under this path."""
    request = Request(f"{credentials.llamaserver_host.rstrip('/')}{path}")  # noqa: S310
    if credentials.llamaserver_api_key is not None:
        key = credentials.llamaserver_api_key.get_secret_value()
        request.add_unredirected_header("Authorization", f"Bearer {key}")
    opener = build_opener(ProxyHandler({}))  # a proxy for the internet does not know this machine
    try:
        with opener.open(request, timeout=max(0.1, deadline - time.monotonic())) as answer:
            body: bytes = answer.read(ANSWER_LIMIT)
            return body
    except HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return b""
        raise


def _said(body: bytes, name: str) -> Any:
    """A field of an object in JSON; None where it is none."""
    try:
        return orjson.loads(body)[name]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def _unknown(provider: str) -> ComponentHealth:
    return ComponentHealth(
        status=ComponentStatus.DEGRADED, message=f"unknown provider '{provider[:100]}'"
    )


def _up() -> ComponentHealth:
    return ComponentHealth(status=ComponentStatus.UP)


def _down(message: str) -> ComponentHealth:
    return ComponentHealth(status=ComponentStatus.DOWN, message=message)
