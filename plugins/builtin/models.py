"""Providers of real models. Nothing of theirs is imported before a model is first asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from ...core.errors import LLMError
from ...core.llm import vendors
from ...core.llm.credentials import read_credentials
from ...core.llm.extras import missing_extra, requirement
from ...core.llm.lazy import LazyProvider
from ...core.llm.roles import providers_in_use
from ..hookspecs import hookimpl

if TYPE_CHECKING:
    from ...core.llm.credentials import Credentials
    from ...core.llm.provider import LLMProvider
    from ...core.runtime import MissionRuntime
    from ...core.settings import Settings
    from ..hookspecs import PluginContext


LOADERS: dict[str, Callable[[Credentials], LLMProvider]] = {
    "openai": vendors.load_openai,
    "anthropic": vendors.load_anthropic,
    "azure": vendors.load_azure,
    "llamaserver": vendors.load_llamaserver,
    "llamacpp": vendors.load_llamacpp,
}


@hookimpl
def register_llm_providers() -> Mapping[str, Callable[[Settings], LLMProvider]]:
    return {name: partial(make, name) for name in LOADERS}


@hookimpl
async def runtime_started(context: PluginContext, runtime: MissionRuntime) -> None:
    """Say at the start what the first call would run into."""
    used = {name for chain in providers_in_use(runtime.settings).values() for name in chain}
    for name in sorted(used & LOADERS.keys()):
        if missing := missing_extra(name):
            fix = f"pip install '{missing}'"
            context.logger.warning("llm.extra_missing", provider=name, fix=fix)


def make(name: str, _settings: Settings) -> LLMProvider:
    """A provider with the credentials of the environment.

    Raises:
        LLMError: something is not set (kind `auth`), or wrong (`invalid`); the message names it.
    """
    credentials = read_credentials()
    if missing := credentials.missing(name):
        raise LLMError("auth", f"{name} needs {', '.join(missing)} to be set", provider=name)
    at_once = credentials.llamacpp_parallel if name == "llamacpp" else None
    return LazyProvider(name, requirement(name), partial(LOADERS[name], credentials), at_once)
