"""Readiness of the source of LLM replies: what each provider needs before it can answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import orjson

from .result import ComponentHealth, ComponentStatus

# Less than what the checker gives a check, so that the thread ends before its caller gives up.
LLAMASERVER_SECONDS = 4.0
LLAMASERVER_HOST = "http://127.0.0.1:8080"
ANSWER_LIMIT = 64 * 1024

REQUIRED = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "azure": ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_DEPLOYMENT"),
    "llamacpp": ("LLAMACPP_MODEL_PATH",),
}
"""The environment variables that a provider cannot work without."""

BUILT_IN = (*REQUIRED, "llamaserver")


def models_check(
    provider: str,
    served: Callable[[str], bool],
    environ: Mapping[str, str] = os.environ,
) -> Callable[[], Awaitable[ComponentHealth]]:
    """Whether `provider` can be asked. `served` says whether anything here makes that provider.

    A built-in provider is down while something it needs is missing. One that a plugin made is up.
    A name that nobody knows is degraded: everything else still works.
    """

    async def check() -> ComponentHealth:
        if provider == "mock":
            return _up()
        if provider not in BUILT_IN:
            return _up() if served(provider) else _unknown(provider)
        missing = [name for name in REQUIRED.get(provider, ()) if not environ.get(name)]
        if missing:
            return _down(f"{provider} needs {', '.join(missing)} to be set")
        if not served(provider):
            return _down(f"nothing installed here makes the provider '{provider}'")
        look = {"llamacpp": _llamacpp, "llamaserver": _llamaserver}.get(provider)
        return await asyncio.to_thread(look, environ) if look else _up()

    return check


def _llamacpp(environ: Mapping[str, str]) -> ComponentHealth:
    if Path(environ["LLAMACPP_MODEL_PATH"]).is_file():
        return _up()
    return _down("LLAMACPP_MODEL_PATH names no file")


def _llamaserver(environ: Mapping[str, str]) -> ComponentHealth:
    url = environ.get("LLAMASERVER_HOST", LLAMASERVER_HOST)
    if not url.startswith(("http://", "https://")):
        return _down("LLAMASERVER_HOST is no http:// or https:// address")
    opener = build_opener(ProxyHandler({}))  # a proxy for the internet does not know this machine
    try:
        with opener.open(f"{url.rstrip('/')}/health", timeout=LLAMASERVER_SECONDS) as answer:
            body = answer.read(ANSWER_LIMIT)
    except HTTPError as error:
        return _down(f"the llama server answers {error.code}")
    except (URLError, OSError, HTTPException):
        return _down("the llama server does not answer")
    try:
        status = orjson.loads(body)["status"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return _down("the llama server answers something that is not its health")
    if status == "ok":
        return _up()
    return ComponentHealth(
        status=ComponentStatus.DEGRADED, message=f"the llama server says '{str(status)[:100]}'"
    )


def _unknown(provider: str) -> ComponentHealth:
    return ComponentHealth(
        status=ComponentStatus.DEGRADED, message=f"unknown provider '{provider[:100]}'"
    )


def _up() -> ComponentHealth:
    return ComponentHealth(status=ComponentStatus.UP)


def _down(message: str) -> ComponentHealth:
    return ComponentHealth(status=ComponentStatus.DOWN, message=message)
